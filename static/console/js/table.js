// A table that follows its cluster: asks every few seconds, changes only rows that changed, says so quietly; and its selection.
import { showTimes } from "./times.js";

const EVERY = 4000;
const PATIENCE = 30000;
let etag = "";
let lastAddress = "";
let wait = EVERY;

function table() {
  return document.getElementById("table");
}

function rowsOf(body) {
  return new Map([...body.rows].map((row) => [row.dataset.row, row]));
}

// What fires about an object changes without the object: the badge is new, the row stays as it is.
function followAlerts(current, row) {
  if (current.dataset.alerts === row.dataset.alerts) return;
  current.querySelector(".alert-badge")?.remove();
  const badge = row.querySelector(".alert-badge");
  if (badge) current.querySelector("th a").after(badge);
  if (row.dataset.alerts === undefined) delete current.dataset.alerts;
  else current.dataset.alerts = row.dataset.alerts;
}

// Put the fresh rows in the place of the old ones, touching only what differs; what is selected stays selected.
export function follow(body, fresh) {
  const old = rowsOf(body);
  let position = body.firstElementChild;
  for (const row of [...fresh.rows]) {
    let current = old.get(row.dataset.row);
    old.delete(row.dataset.row);
    if (!current) {
      current = row;
      current.classList.add("changed");
    } else if (current.dataset.version !== row.dataset.version) {
      const chosen = current.querySelector("input")?.checked;
      if (position === current) position = row;
      current.replaceWith(row);
      current = row;
      if (chosen) selectRow(current, true);
      current.classList.add("changed");
    } else if (current.dataset.used !== row.dataset.used) {
      // Only its numbers moved: the cells are new, the row and what is selected stay as they are.
      const fresh = row.querySelectorAll(".use");
      current.querySelectorAll(".use").forEach((use, index) => { if (fresh[index]) use.replaceWith(fresh[index]); });
      current.dataset.used = row.dataset.used || "";
    }
    if (current !== row) followAlerts(current, row);
    if (current === position) position = position.nextElementSibling;
    else body.insertBefore(current, position);
  }
  for (const removed of old.values()) removed.remove();
}

async function refresh() {
  const element = table();
  if (!element || document.hidden || document.querySelector(".htmx-request")) return;
  const address = element.dataset.live;
  if (address !== lastAddress) { etag = ""; lastAddress = address; }
  const answer = await fetch(address, {
    headers: { "HX-Request": "true", "HX-Target": "table", "HX-Current-URL": location.href, ...(etag ? { "If-None-Match": etag } : {}) },
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (answer.status === 401 && answer.headers.get("HX-Redirect")) return location.assign(answer.headers.get("HX-Redirect"));
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(String(answer.status));
  const text = await answer.text();
  if (table() !== element || element.dataset.live !== address) return;
  etag = answer.headers.get("ETag") || "";
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("table");
  const [body, next] = [element.querySelector("tbody"), fresh?.querySelector("tbody")];
  if (body && next) {
    follow(body, next);
    element.querySelector(".pager")?.replaceWith(fresh.querySelector(".pager"));
    window.htmx?.process(element.querySelector(".pager"));
  } else if (fresh) {
    element.replaceChildren(...fresh.childNodes);
    window.htmx?.process(element);
  }
  showTimes(element);
  announceSelection();
}

async function poll() {
  try {
    await refresh();
    wait = EVERY;
  } catch {
    wait = Math.min(wait * 2, 60000);
  }
  setTimeout(poll, wait);
}

// --- selection --------------------------------------------------------------------------------------------------------
function selectRow(row, on) {
  const box = row.querySelector('input[name="row"]');
  if (box) box.checked = on;
  row.classList.toggle("selected", on);
}

export function chosen() {
  return [...document.querySelectorAll('#table tbody input[name="row"]:checked')].map((box) => box.value);
}

// Others listen to `selection` on the document; its detail is the list of `namespace/name` that are chosen.
function announceSelection() {
  const all = document.querySelectorAll('#table tbody input[name="row"]').length;
  const some = chosen();
  const head = document.querySelector("#table [data-all]");
  if (head) {
    head.checked = some.length > 0 && some.length === all;
    head.indeterminate = some.length > 0 && some.length < all;
  }
  document.dispatchEvent(new CustomEvent("selection", { detail: some }));
}

document.addEventListener("change", (event) => {
  if (!event.target.closest("#table")) return;
  if (event.target.matches("[data-all]")) for (const row of document.querySelectorAll("#table tbody tr")) selectRow(row, event.target.checked);
  else if (event.target.matches('input[name="row"]')) selectRow(event.target.closest("tr"), event.target.checked);
  else return;
  announceSelection();
});
document.body.addEventListener("htmx:afterSwap", (event) => { if (event.detail.target.id === "table" || event.detail.elt?.id === "table") announceSelection(); });

setTimeout(poll, EVERY);
