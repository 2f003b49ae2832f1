// What every page has: zone and theme, keys, menus, dialogs, notices, ages that go on.
import { startAges } from "./times.js";

document.documentElement.classList.add("scripted");

const YEAR = 31536000;
function setCookie(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${value ? YEAR : 0}; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.split("; ").includes(`zone=${zone}`)) setCookie("zone", zone);
startAges();

// --- preferences: a choice is kept at once; the form is for browsers without scripts --------------------------------
for (const form of document.querySelectorAll("form[data-prefer]")) {
  form.addEventListener("change", (event) => {
    if (event.target.name === "theme") {
      setCookie("theme", event.target.value);
      if (event.target.value) document.documentElement.dataset.theme = event.target.value;
      else delete document.documentElement.dataset.theme;
      document.dispatchEvent(new CustomEvent("themechange"));
    } else {
      setCookie("language", event.target.value);
      location.reload();
    }
  });
}

// --- the drawer of narrow screens -----------------------------------------------------------------------------------
const menu = document.getElementById("menu");
const side = document.getElementById("nav");
function toggleDrawer(open) {
  side?.classList.toggle("open", open);
  menu?.setAttribute("aria-expanded", String(open));
}
menu?.addEventListener("click", () => toggleDrawer(!side.classList.contains("open")));

// --- menus close when something else is pressed ---------------------------------------------------------------------
document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.menu[open]")) if (!open.contains(event.target)) open.open = false;
  const dismissed = event.target.closest("[data-dismiss]");
  if (dismissed) dismissed.closest(".notice")?.remove();
  if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
  if (side?.classList.contains("open") && !side.contains(event.target) && !menu.contains(event.target)) toggleDrawer(false);
});

// --- dialogs: whatever htmx puts into #dialog-body is shown in the dialog ---------------------------------------------
const dialog = document.getElementById("dialog");
// What somebody types in is not replaced by an answer to what stood there before.
document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
  const typing = document.activeElement;
  if (typing?.matches("textarea, input:not([type=radio], [type=checkbox])") && event.detail.target.contains(typing)) event.detail.shouldSwap = false;
});
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "dialog-body" && !dialog.open && event.detail.target.childElementCount) dialog.showModal();
});
document.body.addEventListener("close-dialog", () => dialog.close());
dialog?.addEventListener("close", () => dialog.querySelector("#dialog-body").replaceChildren());
document.body.addEventListener("htmx:sendError", () => showNotice(document.body.dataset.offline));

// A notice above the page; `text` is shown as it is, never as HTML.
export function showNotice(text, severity = "error") {
  const notice = document.createElement("div");
  notice.className = `notice ${severity}`;
  notice.setAttribute("role", severity === "error" ? "alert" : "status");
  notice.textContent = text;
  document.getElementById("notices")?.replaceChildren(notice);
}

// --- keys: / searches, g and a letter goes somewhere, Esc leaves ------------------------------------------------------
let going = 0;
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select, [contenteditable], .xterm, .cm-editor");
  if (event.key === "Escape") {
    for (const open of document.querySelectorAll("details.menu[open]")) open.open = false;
    toggleDrawer(false);
    if (typing && typing.matches(".search input, .filters input")) typing.blur();
    return;
  }
  if (typing || dialog?.open) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search")?.focus();
  } else if (event.key === "f" && document.getElementById("filter")) {
    event.preventDefault();
    document.getElementById("filter").focus();
  } else if (event.key === "g") {
    going = Date.now();
  } else if (Date.now() - going < 1500) {
    const link = [...document.querySelectorAll("#nav a[data-key]")].find((candidate) => candidate.dataset.key === event.key);
    going = 0;
    if (link) location.assign(link.href);
  }
});

// --- the quick finds below the search field: arrows go through them, Esc and leaving close them --------------------------
const search = document.getElementById("search");
const quick = document.getElementById("quick");
search?.form.addEventListener("keydown", (event) => {
  const links = [...quick.querySelectorAll("a")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && links.length) {
    event.preventDefault();
    const next = links.indexOf(document.activeElement) + step;
    (links[next] || search).focus();
  } else if (event.key === "Escape") {
    quick.replaceChildren();
    search.focus();
  }
});
search?.form.addEventListener("focusout", (event) => { if (!search.form.contains(event.relatedTarget)) setTimeout(() => quick.replaceChildren(), 150); });
