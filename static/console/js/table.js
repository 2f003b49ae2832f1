// A table that follows its cluster: asks every few seconds, changes only rows that changed, says so quietly; and its selection.
import { showTimes } from "./times.js";

const EVERY = 4000;
const PATIENCE = 30000;
let mark = "";
let asked = "";
let wait = EVERY;

function table() {
  return document.getElementById("table");
}

function rowsOf(body) {
  return new Map([...body.rows].map((row) => [row.dataset.row, row]));
}

// Put the fresh rows in the place of the old ones, touching only what differs; what is selected stays selected.
export function follow(body, fresh) {
  const old = rowsOf(body);
  let place = body.firstElementChild;
  for (const row of [...fresh.rows]) {
    let kept = old.get(row.dataset.row);
    old.delete(row.dataset.row);
    if (!kept) {
      kept = row;
      kept.classList.add("changed");
    } else if (kept.dataset.version !== row.dataset.version) {
      const chosen = kept.querySelector("input")?.checked;
      if (place === kept) place = row;
      kept.replaceWith(row);
      kept = row;
      if (chosen) choose(kept, true);
      kept.classList.add("changed");
    }
    if (kept === place) place = place.nextElementSibling;
    else body.insertBefore(kept, place);
  }
  for (const gone of old.values()) gone.remove();
}

async function refresh() {
  const shown = table();
  if (!shown || document.hidden || document.querySelector(".htmx-request")) return;
  const address = shown.dataset.live;
  if (address !== asked) { mark = ""; asked = address; }
  const answer = await fetch(address, {
    headers: { "HX-Request": "true", "HX-Target": "table", "HX-Current-URL": location.href, ...(mark ? { "If-None-Match": mark } : {}) },
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (answer.status === 401 && answer.headers.get("HX-Redirect")) return location.assign(answer.headers.get("HX-Redirect"));
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(String(answer.status));
  const text = await answer.text();
  if (table() !== shown || shown.dataset.live !== address) return;
  mark = answer.headers.get("ETag") || "";
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("table");
  const [body, next] = [shown.querySelector("tbody"), fresh?.querySelector("tbody")];
  if (body && next) {
    follow(body, next);
    shown.querySelector(".pager")?.replaceWith(fresh.querySelector(".pager"));
    window.htmx?.process(shown.querySelector(".pager"));
  } else if (fresh) {
    shown.replaceChildren(...fresh.childNodes);
    window.htmx?.process(shown);
  }
  showTimes(shown);
  tell();
}

async function turn() {
  try {
    await refresh();
    wait = EVERY;
  } catch {
    wait = Math.min(wait * 2, 60000);
  }
  setTimeout(turn, wait);
}

// --- selection --------------------------------------------------------------------------------------------------------
function choose(row, on) {
  const box = row.querySelector('input[name="row"]');
  if (box) box.checked = on;
  row.classList.toggle("selected", on);
}

export function chosen() {
  return [...document.querySelectorAll('#table tbody input[name="row"]:checked')].map((box) => box.value);
}

// Others listen to `selection` on the document; its detail is the list of `namespace/name` that are chosen.
function tell() {
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
  if (event.target.matches("[data-all]")) for (const row of document.querySelectorAll("#table tbody tr")) choose(row, event.target.checked);
  else if (event.target.matches('input[name="row"]')) choose(event.target.closest("tr"), event.target.checked);
  else return;
  tell();
});
document.body.addEventListener("htmx:afterSwap", (event) => { if (event.detail.target.id === "table" || event.detail.elt?.id === "table") tell(); });

setTimeout(turn, EVERY);
