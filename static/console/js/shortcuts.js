// Keys as k9s has them: rows of tables, the menu of a row, the command palette, and help.
const menu = document.getElementById("row-menu");
const palette = document.getElementById("palette");
const text = document.getElementById("palette-text");
const hits = document.getElementById("palette-hits");
const help = document.getElementById("keys");
const GO_MS = 1500;
const TYPING_MS = 160;
let going = 0;

// --- rows: the one under the keyboard, else the one that has the focus --------------------------------------------------
function rows() {
  return [...document.querySelectorAll("#table tbody tr, #fleet tbody tr")];
}

function currentRow() {
  return document.activeElement?.closest("#table tbody tr, #fleet tbody tr") || document.querySelector("tr.current");
}

function moveRow(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(currentRow());
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  for (const row of document.querySelectorAll("tr.current")) row.classList.remove("current");
  next.classList.add("current");
  next.querySelector("th a")?.focus();
  next.scrollIntoView({ block: "nearest" });
}

// The address of the object that keys are about: the row's, or that of the object's own page.
function objectAddress() {
  const row = currentRow()?.querySelector("th a");
  if (row) return row.pathname;
  return document.querySelector("nav.tabs a")?.pathname || "";
}

// The menu knows what the person may do; a key that names nothing in it does nothing.
async function readMenu(address) {
  const answer = await fetch(`${address}/menu`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("ul");
}

async function follow(key) {
  const address = objectAddress();
  if (!address) return;
  try {
    const list = await readMenu(address);
    const link = [...list.querySelectorAll("a")].find((candidate) => candidate.querySelector("kbd")?.textContent === key);
    if (link) location.assign(link.getAttribute("href"));
  } catch {
    location.assign(address);
  }
}

async function openMenu(button, address) {
  try {
    menu.replaceChildren(await readMenu(address));
  } catch {
    return;
  }
  const box = button.getBoundingClientRect();
  menu.showPopover();
  const left = Math.min(box.left, innerWidth - menu.offsetWidth - 8);
  const top = Math.min(box.bottom + 4, innerHeight - menu.offsetHeight - 8);
  menu.style.setProperty("left", `${Math.max(left, 8)}px`);
  menu.style.setProperty("top", `${Math.max(top, 8)}px`);
  menu.querySelector("a")?.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-menu]");
  if (button) openMenu(button, button.closest("tr").querySelector("th a").pathname);
});

menu?.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[event.key];
  const links = [...menu.querySelectorAll("a")];
  if (step) {
    event.preventDefault();
    links[(links.indexOf(document.activeElement) + step + links.length) % links.length].focus();
  } else {
    const link = links.find((candidate) => candidate.querySelector("kbd")?.textContent === event.key);
    if (link) { event.preventDefault(); link.click(); }
  }
});

// --- the palette --------------------------------------------------------------------------------------------------------
let wait = 0;
let asked = 0;

function pageCommands() {
  const kinds = [...document.querySelectorAll("#nav a")].map((link) => ({ title: link.textContent.trim(), hint: hits.dataset.page, href: link.href }));
  const acts = [...document.querySelectorAll("main .head .acts a, main nav.tabs a")].map((link) => ({ title: link.textContent.trim(), hint: hits.dataset.action, href: link.href }));
  return [...acts, ...kinds];
}

function option(command) {
  const item = document.createElement("li");
  item.setAttribute("role", "option");
  item.id = `command-${hits.childElementCount}`;
  item.dataset.href = command.href;
  const title = document.createElement("b");
  title.textContent = command.title;
  const hint = document.createElement("small");
  hint.textContent = command.hint;
  item.append(title, hint);
  hits.append(item);
}

function choose(item) {
  for (const other of hits.children) other.setAttribute("aria-selected", String(other === item));
  text.setAttribute("aria-activedescendant", item?.id || "");
  item?.scrollIntoView({ block: "nearest" });
}

async function showCommands() {
  const words = text.value.trim().toLowerCase();
  const turn = ++asked;
  const fitting = pageCommands().filter((command) => words.split(/\s+/).every((word) => command.title.toLowerCase().includes(word)));
  hits.replaceChildren();
  for (const command of fitting.slice(0, words ? 12 : 40)) option(command);
  choose(hits.firstElementChild);
  if (words.length < 2) return;
  const answer = await fetch(`/search/quick?q=${encodeURIComponent(words)}`, { headers: { "HX-Request": "true" } });
  if (!answer.ok || turn !== asked) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (turn !== asked) return;
  for (const link of found.querySelectorAll("li a:not(.all)")) {
    option({ title: link.querySelector("b").textContent, hint: `${link.querySelector("span")?.textContent || ""} · ${link.querySelector("small")?.textContent || ""}`, href: link.getAttribute("href") });
  }
  if (!hits.childElementCount) {
    const nothing = document.createElement("li");
    nothing.className = "none";
    nothing.setAttribute("role", "option");
    nothing.textContent = hits.dataset.nothing;
    hits.append(nothing);
  } else if (!hits.querySelector('[aria-selected="true"]')) choose(hits.firstElementChild);
}

function openPalette() {
  text.value = "";
  palette.showModal();
  showCommands();
}

function run(item) {
  if (item?.dataset.href) location.assign(item.dataset.href);
}

text?.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(showCommands, TYPING_MS); });
text?.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const all = [...hits.children];
  const at = all.findIndex((item) => item.getAttribute("aria-selected") === "true");
  if (step && all.length) {
    event.preventDefault();
    choose(all[(at + step + all.length) % all.length]);
  } else if (event.key === "Enter") {
    event.preventDefault();
    run(all[at]);
  } else if (event.key === "Escape") {
    // Else the field would take the key to empty itself, and the palette would stay.
    event.preventDefault();
    palette.close();
  }
});
hits?.addEventListener("click", (event) => run(event.target.closest("li")));

function openHelp() {
  const sections = document.getElementById("keys-sections");
  sections.textContent = [...document.querySelectorAll("#nav a[data-key]")].map((link) => `${link.dataset.key} ${link.textContent.trim()}`).join(" · ");
  help.showModal();
}

// --- keys ---------------------------------------------------------------------------------------------------------------
const ROW_KEYS = new Set(["c", "l", "s", "i", "e", "y", "r"]);

document.addEventListener("keydown", (event) => {
  if (!palette) return;
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
    // A terminal and an editor have their own use for it.
    if (event.target.closest(".xterm, .cm-editor")) return;
    event.preventDefault();
    if (!document.querySelector("dialog[open]")) openPalette();
    return;
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable], .xterm, .cm-editor, [role=listbox], [role=grid]");
  if (isTyping || document.querySelector("dialog[open]") || menu.matches(":popover-open")) return;
  if (event.key === "g") { going = Date.now(); return; }
  if (Date.now() - going < GO_MS) { going = 0; return; }
  const inTable = rows().length > 0;
  if (event.key === ":") { event.preventDefault(); openPalette(); }
  else if (event.key === "?") { event.preventDefault(); openHelp(); }
  else if (inTable && (event.key === "j" || event.key === "k")) moveRow(event.key === "j" ? 1 : -1);
  else if (currentRow() && (event.key === "ArrowDown" || event.key === "ArrowUp")) { event.preventDefault(); moveRow(event.key === "ArrowDown" ? 1 : -1); }
  else if (currentRow() && event.key === " " && event.target.tagName === "A") { event.preventDefault(); currentRow().querySelector('input[name="row"]')?.click(); }
  else if (currentRow() && event.key === "m") { event.preventDefault(); openMenu(currentRow(), objectAddress()); }
  else if (currentRow() && event.key === "d") location.assign(objectAddress());
  else if (ROW_KEYS.has(event.key)) follow(event.key);
  else if (event.key === "Delete" && currentRow()) follow("Del");
});
