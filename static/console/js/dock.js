// The dock at the foot: logs and terminals, several at once, that go on while the person moves through the console.
// Each is a frame of the page that the console has for it; what is open is kept for the tab of the browser.
const dock = document.getElementById("dock");
const tabs = document.getElementById("dock-tabs");
const frames = document.getElementById("dock-frames");
const STORE = "kubegale.dock";
const MOST = 8;
const LOWEST = 120;

function read() {
  try {
    const state = JSON.parse(sessionStorage.getItem(STORE) || "{}");
    return { entries: Array.isArray(state.entries) ? state.entries : [], chosen: state.chosen || "", height: state.height || 320, small: Boolean(state.small) };
  } catch {
    return { entries: [], chosen: "", height: 320, small: false };
  }
}

let state = read();

function save() {
  sessionStorage.setItem(STORE, JSON.stringify(state));
}

// Only pages of this console: what is stored is no more trusted than an address that somebody typed.
function isPage(address) {
  return /^\/clusters\/\d+\/[^?#]+\/(logs|terminal)(\?|$)/.test(address);
}

function frameOf(entry) {
  const frame = document.createElement("iframe");
  frame.title = entry.title;
  frame.dataset.entry = entry.id;
  frame.src = `${entry.address}${entry.address.includes("?") ? "&" : "?"}dock=${encodeURIComponent(entry.id)}`;
  return frame;
}

function tabOf(entry) {
  const tab = document.createElement("span");
  tab.className = "dock-tab";
  const open = document.createElement("button");
  open.type = "button";
  open.className = "small";
  open.textContent = entry.title;
  const isOpen = entry.id === state.chosen;
  open.id = `dock-tab-${entry.id}`;
  open.setAttribute("role", "tab");
  open.setAttribute("aria-selected", String(isOpen));
  open.setAttribute("aria-expanded", String(isOpen && !state.small));
  // One stop for the Tab key; the arrows go from tab to tab.
  open.tabIndex = isOpen ? 0 : -1;
  open.addEventListener("keydown", onTabKey);
  open.addEventListener("click", () => { state.small = entry.id === state.chosen && !state.small; state.chosen = entry.id; show(); });
  const close = document.createElement("button");
  close.type = "button";
  close.className = "icon";
  close.textContent = "×";
  // For the pointer; a list of tabs has nothing but tabs, so there is a button beside it too.
  close.tabIndex = -1;
  close.setAttribute("aria-hidden", "true");
  close.addEventListener("click", () => remove(entry.id));
  tab.append(open, close);
  return tab;
}

// Arrows, Home and End choose a tab, Delete closes it.
function onTabKey(event) {
  const order = state.entries.map((entry) => entry.id);
  const here = order.indexOf(state.chosen);
  const places = { ArrowRight: here + 1, ArrowLeft: here - 1 + order.length, Home: 0, End: order.length - 1 };
  if (event.key === "Delete") remove(state.chosen);
  else if (event.key in places) {
    state.chosen = order[places[event.key] % order.length];
    show();
    document.getElementById(`dock-tab-${state.chosen}`).focus();
  } else return;
  event.preventDefault();
}

function show() {
  state.entries = state.entries.filter((entry) => isPage(entry.address));
  if (!state.entries.some((entry) => entry.id === state.chosen)) state.chosen = state.entries.at(-1)?.id || "";
  dock.hidden = state.entries.length === 0;
  document.body.classList.toggle("has-dock", !dock.hidden);
  tabs.replaceChildren(...state.entries.map(tabOf));
  const ids = new Set(state.entries.map((entry) => entry.id));
  for (const frame of [...frames.children]) if (!ids.has(frame.dataset.entry)) frame.remove();
  for (const entry of state.entries) {
    let frame = [...frames.children].find((candidate) => candidate.dataset.entry === entry.id);
    if (!frame) frames.append((frame = frameOf(entry)));
    // Hidden, not removed: what a frame follows goes on.
    frame.hidden = entry.id !== state.chosen;
  }
  const chosen = state.entries.find((entry) => entry.id === state.chosen);
  document.getElementById("dock-close").setAttribute("aria-label", `${dock.dataset.close} ${chosen?.title ?? ""}`);
  frames.hidden = state.small;
  frames.style.setProperty("height", `${Math.min(Math.max(state.height, LOWEST), innerHeight * 0.8)}px`);
  document.getElementById("dock-grip").setAttribute("aria-valuenow", String(Math.round(frames.offsetHeight || state.height)));
  document.documentElement.style.setProperty("--dock", dock.hidden ? "0px" : `${dock.offsetHeight}px`);
  save();
}

function remove(id) {
  const frame = [...frames.children].find((candidate) => candidate.dataset.entry === id);
  // Its page ends the shell; a frame that only disappears would leave it running for a minute.
  frame?.contentWindow?.document.getElementById("terminal-end")?.click();
  sessionStorage.removeItem(`kubegale.terminal.${id}`);
  sessionStorage.removeItem(`kubegale.log.${id}`);
  state.entries = state.entries.filter((entry) => entry.id !== id);
  setTimeout(show, 50);
}

export function add(address, title) {
  if (!isPage(address)) return;
  const same = state.entries.find((entry) => entry.address === address && address.includes("/logs"));
  if (same) state.chosen = same.id;
  else {
    const entry = { id: crypto.randomUUID?.() || String(Date.now()), address, title };
    state.entries = [...state.entries.slice(-(MOST - 1)), entry];
    state.chosen = entry.id;
  }
  state.small = false;
  show();
}

if (dock) {
  show();
  document.getElementById("dock-close").addEventListener("click", () => remove(state.chosen));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-dock]");
    if (!button) return;
    const container = document.querySelector('#terminal-container, #log-form [name="container"]')?.value || "";
    const query = container ? `?container=${encodeURIComponent(container)}` : "";
    add(button.dataset.dock + query, button.dataset.title);
  });
  // Dragged by the pointer, moved by the arrow keys.
  const grip = document.getElementById("dock-grip");
  grip.addEventListener("pointerdown", (event) => {
    grip.setPointerCapture(event.pointerId);
    // A frame would swallow the pointer's moves.
    frames.classList.add("moving");
  });
  grip.addEventListener("pointermove", (event) => {
    if (!grip.hasPointerCapture(event.pointerId)) return;
    state.height = innerHeight - event.clientY - tabs.offsetHeight;
    state.small = false;
    show();
  });
  grip.addEventListener("pointerup", () => frames.classList.remove("moving"));
  grip.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 40, ArrowDown: -40 }[event.key];
    if (!step) return;
    event.preventDefault();
    state.height = Math.max(state.height + step, LOWEST);
    show();
  });
}
