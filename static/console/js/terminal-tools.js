// What stands above a terminal: copy, paste, the size of its letters, search in what it printed.
import { copyFrom, say } from "./clipboard.js";
import { fill } from "./sockets.js";
import { ScrollbackSearch } from "./terminal-search.js";

const byId = (id) => document.getElementById(id);
const STORED = "kubegale.terminal-font";
const SMALLEST = 8;
const LARGEST = 28;

// The size that was chosen in this browser, else the one that fits the window.
export function fontSize() {
  const stored = Number(localStorage.getItem(STORED));
  if (stored >= SMALLEST && stored <= LARGEST) return stored;
  return matchMedia("(max-width: 760px)").matches ? 12 : 13;
}

// Touch has no selection in a terminal: without one, what the screen shows is meant.
function textToCopy(terminal) {
  if (terminal.hasSelection()) return terminal.getSelection();
  const buffer = terminal.buffer.active;
  const rows = [];
  for (let row = buffer.viewportY; row < buffer.viewportY + terminal.rows; row += 1) {
    const line = buffer.getLine(row);
    const text = line?.translateToString(!buffer.getLine(row + 1)?.isWrapped) ?? "";
    if (line?.isWrapped && rows.length) rows[rows.length - 1] += text;
    else rows.push(text);
  }
  return rows.join("\n").trimEnd();
}

export class TerminalTools {
  #terminal;
  #fit;
  #texts;
  #search;

  // `fit` is called after the letters changed their size.
  constructor(terminal, { fit, texts }) {
    this.#terminal = terminal;
    this.#fit = fit;
    this.#texts = texts;
    this.#search = new ScrollbackSearch(terminal);
    byId("terminal-copy").addEventListener("click", () => this.copy());
    byId("terminal-paste").addEventListener("click", () => this.#paste());
    byId("terminal-smaller").addEventListener("click", () => this.#resize(-1));
    byId("terminal-larger").addEventListener("click", () => this.#resize(1));
    byId("terminal-previous").addEventListener("click", () => this.#move(-1));
    byId("terminal-next").addEventListener("click", () => this.#move(1));
    const field = byId("terminal-search");
    field.addEventListener("input", () => {
      this.#search.clear();
      this.#move(-1);
    });
    field.addEventListener("keydown", (event) => this.#onSearchKey(event));
  }

  // True when the key was one of these tools.
  takesKey(event) {
    if (!event.ctrlKey || !event.shiftKey) return false;
    if (event.code === "KeyC") this.copy();
    else if (event.code === "KeyF") byId("terminal-search").select();
    else return false;
    event.preventDefault();
    return true;
  }

  copy() {
    return copyFrom(byId("terminal-copy"), textToCopy(this.#terminal), this.#texts);
  }

  async #paste() {
    try {
      this.#terminal.paste(await navigator.clipboard.readText());
    } catch {
      // Without TLS, or refused: the browser's own key still pastes.
      say(byId("terminal-paste"), this.#texts.not_pasted);
    }
    this.#terminal.focus();
  }

  #resize(step) {
    const size = Math.min(Math.max(this.#terminal.options.fontSize + step, SMALLEST), LARGEST);
    this.#terminal.options.fontSize = size;
    localStorage.setItem(STORED, String(size));
    this.#fit();
  }

  #move(step) {
    const text = byId("terminal-search").value;
    const { here, count } = this.#search.move(text, step);
    const places = fill(this.#texts.found, { here, count: count.toLocaleString() });
    byId("terminal-found").textContent = count ? places : text && this.#texts.nothing;
    for (const id of ["terminal-previous", "terminal-next"]) byId(id).disabled = !count;
  }

  #onSearchKey(event) {
    if (event.key === "Enter") this.#move(event.shiftKey ? 1 : -1);
    else if (event.key === "Escape") this.#terminal.focus();
    else return;
    event.preventDefault();
  }
}
