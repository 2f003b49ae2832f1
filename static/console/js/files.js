// The Files tab: a list of which only the rows in sight exist, its mouse and its keyboard.
import { makeDirectory, makeFile, remove, rename } from "./files-acts.js";
import { byId, config, errorText, joinPath, make, nameNodes, parentOf, say, texts } from "./files-common.js";
import { isHidden, makeRow } from "./files-row.js";
import { download, onUploaded, setPlace, upload } from "./files-transfers.js";
import { editFile, onSaved, openFile } from "./files-view.js";
import { get } from "./sockets.js";

const grid = byId("files");
const body = byId("files-rows");
const HIDDEN_KEY = "kubegale.hidden-files";
// Rows beyond the edge of the window, so that a quick scroll does not show emptiness.
const BEYOND = 12;

let directory = config.path;
let listing = [];
let shown = [];
let truncated = false;
let sort = { key: "name", down: false };
let active = -1;
let anchor = -1;
let chosen = new Set();
let request = null;

// --- reading a directory ----------------------------------------------------------------------------------------------
// `select` is the name of the entry that becomes the active one.
export async function load(path, { push = false, select = "", keep = false } = {}) {
  request?.abort();
  const own = (request = new AbortController());
  grid.setAttribute("aria-busy", "true");
  byId("files-count").textContent = texts.loading;
  let answer;
  try {
    answer = await get(`${config.base}/entries`, { container: config.container, path }, own.signal);
  } catch (error) {
    if (own.signal.aborted) return false;
    show({ path, items: [], truncated: false, via: "" }, { push, select: "", keep: false });
    showMessage(errorText(error), true);
    return false;
  }
  if (own !== request) return false;
  show(answer, { push, select, keep });
  return true;
}

function show(answer, { push, select, keep }) {
  const same = keep && answer.path === directory;
  const remembered = same && shown[active] ? shown[active].name : select;
  const before = same ? chosen : new Set();
  directory = answer.path;
  listing = answer.items;
  truncated = answer.truncated;
  const names = new Set(listing.map((entry) => entry.name));
  chosen = new Set([...before].filter((name) => names.has(name)));
  if (push) history.pushState({ path: directory }, "", address());
  else history.replaceState({ path: directory }, "", address());
  setPlace(directory, names);
  if (!same) byId("filter").value = "";
  byId("files-via").textContent = answer.via ? texts[`via_${answer.via}`] || "" : "";
  grid.setAttribute("aria-busy", "false");
  showTrail();
  arrange(select || remembered);
  if (!same) grid.scrollTop = 0;
  if (active >= 0) scrollToActive();
}

function address() {
  const parameters = new URLSearchParams(location.search);
  parameters.set("container", config.container);
  parameters.set("path", directory);
  return `${location.pathname}?${parameters}`;
}

const reload = (select = "") => load(directory, { keep: true, select });

function showTrail() {
  const parts = directory.split("/").filter(Boolean);
  const nodes = [["/", "/"], ...parts.map((part, index) => [part, `/${parts.slice(0, index + 1).join("/")}`])].flatMap(([name, path], index, all) => {
    const button = make("button", { type: "button" }, ...nameNodes(name));
    if (index === all.length - 1) button.setAttribute("aria-current", "page");
    button.addEventListener("click", () => enter(path));
    return index > 1 ? [make("span", { "aria-hidden": "true" }, "/"), button] : [button];
  });
  byId("files-trail").replaceChildren(...nodes);
  const terminal = byId("files-terminal");
  if (terminal) terminal.href = `${config.terminal}?${new URLSearchParams({ container: config.container, directory })}`;
}

async function enter(path, select = "") {
  const arrived = await load(path, { push: true, select });
  grid.focus({ preventScroll: true });
  return arrived;
}

// --- order and filter -------------------------------------------------------------------------------------------------
// By code point, as the API lists them.
function compareNames(first, second) {
  if (first.name === second.name) return 0;
  return first.name < second.name ? -1 : 1;
}

// Directories have no size that would mean anything.
const COMPARE = {
  name: compareNames,
  size: (first, second) => (first.type === "dir" ? 0 : (first.size ?? -1) - (second.size ?? -1)),
  mtime: (first, second) => Date.parse(first.mtime) - Date.parse(second.mtime) || 0,
};

// Filter and sort what was read; `name` becomes the active entry, else the one that was.
function arrange(name = shown[active]?.name) {
  const words = byId("filter").value.toLowerCase();
  const withHidden = byId("files-hidden").checked;
  shown = listing.filter((entry) => (withHidden || !isHidden(entry)) && (!words || entry.name.toLowerCase().includes(words)));
  // The API has directories first, by name.
  if (sort.key !== "name" || sort.down) {
    const compare = COMPARE[sort.key];
    const rank = (entry) => (entry.type === "dir" ? 0 : 1);
    const direction = sort.down ? -1 : 1;
    shown.sort((first, second) => rank(first) - rank(second) || direction * compare(first, second) || compareNames(first, second));
  }
  active = shown.findIndex((entry) => entry.name === name);
  if (active < 0 && shown.length) active = 0;
  anchor = active;
  for (const header of grid.querySelectorAll("[data-sort]")) {
    const own = header.dataset.sort === sort.key;
    header.setAttribute("aria-sort", own ? (sort.down ? "descending" : "ascending") : "none");
  }
  grid.setAttribute("aria-rowcount", String(shown.length + 1));
  if (!listing.length) showMessage(texts.empty);
  else showMessage(shown.length ? "" : texts.no_match);
  const numbers = { count: listing.length, shown: shown.length };
  byId("files-count").textContent = [say(shown.length === listing.length ? "entries" : "some", numbers), truncated ? say("cut", numbers) : ""].filter(Boolean).join(" · ");
  draw();
}

function showMessage(words, bad = false) {
  const message = byId("files-message");
  message.textContent = words;
  message.classList.toggle("bad", bad);
  message.hidden = !words;
  if (bad) {
    byId("files-count").textContent = "";
    message.setAttribute("role", "alert");
  } else message.removeAttribute("role");
}

// --- the rows in sight ------------------------------------------------------------------------------------------------
let height = 0;
function rowHeight() {
  if (!height) {
    const probe = make("div", { role: "row" });
    body.append(probe);
    height = probe.getBoundingClientRect().height || 32;
    probe.remove();
  }
  return height;
}
addEventListener("resize", () => {
  height = 0;
  draw();
});

let drawn = 0;
function draw() {
  cancelAnimationFrame(drawn);
  const row = rowHeight();
  // Chromium knows no element of more than 33 million pixels; ten thousand rows are far below.
  body.style.height = `${shown.length * row}px`;
  // A list that became shorter is scrolled back by the browser, but not always by now.
  const top = Math.min(grid.scrollTop, Math.max(shown.length * row - grid.clientHeight, 0));
  const first = Math.max(Math.floor(top / row) - BEYOND, 0);
  const last = Math.min(Math.ceil((top + grid.clientHeight) / row) + BEYOND, shown.length);
  const visible = [];
  for (let index = first; index < last; index += 1) visible.push(index);
  // The active row exists wherever it is, as the grid names it.
  if (active >= 0 && active < first) visible.unshift(active);
  else if (active >= last) visible.push(active);
  place(visible, row);
  if (shown[active]) grid.setAttribute("aria-activedescendant", `files-row-${active}`);
  else grid.removeAttribute("aria-activedescendant");
  byId("files-chosen").textContent = chosen.size > 1 ? say("chosen", { count: chosen.size }) : "";
  offerActs();
}
grid.addEventListener("scroll", () => {
  cancelAnimationFrame(drawn);
  drawn = requestAnimationFrame(draw);
});

// Rows that stay are left as they are: a double click, or a screen reader, stands on one.
const entryOf = new WeakMap();
function place(visible, row) {
  const old = new Map([...body.children].map((element) => [entryOf.get(element), element]));
  let position = body.firstElementChild;
  for (const index of visible) {
    const element = old.get(shown[index]) ?? addRow(shown[index]);
    old.delete(shown[index]);
    mark(element, index, row);
    if (element === position) position = position.nextElementSibling;
    else body.insertBefore(element, position);
  }
  for (const element of old.values()) element.remove();
}

function addRow(entry) {
  const element = makeRow(entry);
  entryOf.set(element, entry);
  return element;
}

function mark(element, index, row) {
  const selected = chosen.has(shown[index].name);
  element.id = `files-row-${index}`;
  element.dataset.index = String(index);
  element.style.top = `${index * row}px`;
  element.setAttribute("aria-rowindex", String(index + 2));
  element.setAttribute("aria-selected", String(selected));
  element.classList.toggle("active", index === active);
  element.querySelector("input").checked = selected;
}

function scrollToActive() {
  const row = rowHeight();
  const head = grid.querySelector(".files-head").offsetHeight;
  const top = active * row;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + row + head > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + row + head - grid.clientHeight;
  draw();
}

// --- choosing ---------------------------------------------------------------------------------------------------------
function moveTo(index, { extend = false, only = true } = {}) {
  if (!shown.length) return;
  active = Math.min(Math.max(index, 0), shown.length - 1);
  if (extend) {
    const [from, to] = anchor < active ? [anchor, active] : [active, anchor];
    chosen = new Set(shown.slice(Math.max(from, 0), to + 1).map((entry) => entry.name));
  } else {
    anchor = active;
    if (only) chosen = new Set([shown[active].name]);
  }
  scrollToActive();
}

function toggle(index) {
  active = anchor = index;
  const { name } = shown[index];
  if (!chosen.delete(name)) chosen.add(name);
  draw();
}

// What the buttons act on: what is chosen and in sight of the filter.
const targets = () => shown.filter((entry) => chosen.has(entry.name));

function offer(id, reason) {
  const button = byId(id);
  button.disabled = Boolean(reason);
  button.title = reason;
}

function offerActs() {
  const some = targets();
  const write = config.may_write ? "" : texts.no_write;
  const one = some.length === 1 ? "" : texts.choose_one;
  offer("files-upload", write);
  offer("files-mkdir", write);
  offer("files-new", write);
  offer("files-download", some.length ? "" : texts.choose_some);
  offer("files-edit", write || (some.length === 1 && ["file", "link"].includes(some[0].type) ? "" : texts.choose_file));
  offer("files-rename", write || one);
  offer("files-delete", (config.may_delete ? "" : texts.no_delete) || (some.length ? "" : texts.choose_some));
}

// --- what is done to entries ------------------------------------------------------------------------------------------
const pathOf = (entry) => entry.path || joinPath(directory, entry.name);

async function open(entry) {
  if (entry.type === "dir") return enter(pathOf(entry));
  if (entry.type === "link" && (await leadsToDirectory(entry))) return enter(pathOf(entry));
  return openFile(entry, pathOf(entry));
}

// A link says where it leads, not to what.
async function leadsToDirectory(entry) {
  try {
    await get(`${config.base}/entries`, { container: config.container, path: pathOf(entry) });
    return true;
  } catch {
    return false;
  }
}

// The list as the acts of files-acts.js know it.
const list = {
  directory: () => directory,
  targets,
  pathOf,
  reload,
  choose: (name) => (chosen = new Set([name])),
  previous: () => shown[Math.max(active - 1, 0)]?.name,
};

const downloadChosen = () => targets().forEach((entry) => download(entry, pathOf(entry)));
const editChosen = () => targets().length === 1 && editFile(targets()[0], pathOf(targets()[0]));

byId("files-mkdir").addEventListener("click", () => makeDirectory(list));
byId("files-new").addEventListener("click", () => makeFile(list));
byId("files-rename").addEventListener("click", () => rename(list));
byId("files-delete").addEventListener("click", () => remove(list));
byId("files-download").addEventListener("click", downloadChosen);
byId("files-edit").addEventListener("click", editChosen);
byId("files-reload").addEventListener("click", () => reload());
byId("files-upload").addEventListener("click", () => byId("files-picker").click());
byId("files-picker").addEventListener("change", (event) => {
  upload([...event.target.files].map((file) => ({ file, folder: "" })));
  event.target.value = "";
});
onUploaded((folder, name) => folder === directory && reload(name));
onSaved((path) => parentOf(path) === directory && reload(path.slice(path.lastIndexOf("/") + 1)));

// --- mouse and touch --------------------------------------------------------------------------------------------------
body.addEventListener("click", (event) => {
  const row = event.target.closest('[role="row"]');
  if (!row) return;
  const index = Number(row.dataset.index);
  grid.focus({ preventScroll: true });
  if (event.target.closest(".pick") || event.ctrlKey || event.metaKey) toggle(index);
  else if (event.shiftKey) moveTo(index, { extend: true });
  else {
    moveTo(index);
    if (event.target.closest(".open")) open(shown[index]);
  }
});
body.addEventListener("dblclick", (event) => {
  const row = event.target.closest('[role="row"]');
  if (row && !event.target.closest(".open, .pick")) open(shown[Number(row.dataset.index)]);
});
grid.querySelector(".files-head").addEventListener("click", (event) => {
  const key = event.target.closest("[data-sort]")?.dataset.sort;
  if (!key) return;
  // Sizes and times begin with the largest and the latest.
  sort = sort.key === key ? { key, down: !sort.down } : { key, down: key !== "name" };
  arrange();
});

// --- the keyboard -----------------------------------------------------------------------------------------------------
const page = () => Math.max(Math.floor(grid.clientHeight / rowHeight()) - 2, 1);
const STEPS = { ArrowDown: () => 1, ArrowUp: () => -1, PageDown: page, PageUp: () => -page(), Home: () => -Infinity, End: () => Infinity };

grid.addEventListener("keydown", (event) => {
  if (event.target !== grid || event.altKey) return;
  const step = STEPS[event.key];
  const control = event.ctrlKey || event.metaKey;
  if (step) moveTo(Math.min(active + step(), shown.length - 1), { extend: event.shiftKey, only: !control });
  else if (control && event.key === "a") {
    chosen = new Set(shown.map((entry) => entry.name));
    draw();
  } else if (control) return;
  else if (event.key === "Enter" && shown[active]) open(shown[active]);
  else if (event.key === " " && shown[active]) toggle(active);
  else if (event.key === "Backspace") goUp();
  else if (event.key === "Delete" || event.key === "F2") {
    if (!chosen.size && shown[active]) chosen = new Set([shown[active].name]);
    draw();
    byId(event.key === "F2" ? "files-rename" : "files-delete").click();
  } else return;
  event.preventDefault();
});

function goUp() {
  if (directory !== "/") enter(parentOf(directory), directory.slice(directory.lastIndexOf("/") + 1));
}

byId("filter").addEventListener("input", () => arrange());
byId("filter").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    grid.focus();
  }
});
byId("files-hidden").addEventListener("change", (event) => {
  localStorage.setItem(HIDDEN_KEY, event.target.checked ? "1" : "0");
  arrange();
});

addEventListener("popstate", (event) => load(event.state?.path || new URLSearchParams(location.search).get("path") || "/"));
byId("files-hidden").checked = localStorage.getItem(HIDDEN_KEY) === "1";
offerActs();
load(directory);
if (document.activeElement === document.body) grid.focus({ preventScroll: true });
