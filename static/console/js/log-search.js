// Search in the lines of a log: plain text at once, a regular expression beside the page (log-pattern.js).
import { LinePattern, patternFault } from "./log-pattern.js";
import { fill } from "./sockets.js";

const MOST_MARKED = 2000;
const byId = (id) => document.getElementById(id);
const highlights = "highlights" in CSS ? CSS.highlights : null;

// Ranges of the page for places in the text of one element.
function rangesIn(element, places) {
  const ranges = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let from = 0;
  let open = places;
  while (walker.nextNode() && open.length) {
    const node = walker.currentNode;
    const to = from + node.data.length;
    for (const [begin, end] of open) {
      if (begin >= to || end <= from) continue;
      const range = new Range();
      range.setStart(node, Math.max(begin - from, 0));
      range.setEnd(node, Math.min(end, to) - from);
      ranges.push(range);
    }
    open = open.filter(([, end]) => end > to);
    from = to;
  }
  return ranges;
}

function plainPlaces(text, query) {
  const places = [];
  for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) places.push([at, at + query.length]);
  return places;
}

export class LineSearch {
  // `isShown(line)`: no filter hides it; `onMove()` when the person goes to a match, `onChange()` when other lines match than before.
  constructor({ box, texts, isShown, onMove, onChange }) {
    this.box = box;
    this.texts = texts;
    this.isShown = isShown;
    this.onMove = onMove;
    this.onChange = onChange;
    this.query = "";
    this.pattern = null;
    this.fault = "";
    this.hits = [];
    this.place = -1;
    this.timer = 0;
    // Where an expression matches, by line.
    this.places = new WeakMap();
    this.input = byId("log-search");
    this.regex = byId("log-regex");
    this.listen();
  }

  get active() {
    return Boolean(this.query || this.pattern);
  }

  listen() {
    let typed = 0;
    this.input.addEventListener("input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => this.apply(), 150);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.show(event.shiftKey ? -1 : 1);
    });
    this.regex.addEventListener("change", () => this.apply());
    byId("log-previous").addEventListener("click", () => this.show(-1));
    byId("log-next").addEventListener("click", () => this.show(1));
  }

  // What the field says, looked for in all lines.
  apply() {
    const written = this.input.value;
    this.pattern?.end();
    this.pattern = null;
    this.fault = this.regex.checked && written ? patternFault(written) : "";
    this.query = this.regex.checked ? "" : written.toLowerCase();
    this.place = -1;
    this.places = new WeakMap();
    for (const line of this.box.querySelectorAll(".line.hit")) line.classList.remove("hit");
    if (this.regex.checked && written && !this.fault) this.pattern = this.startPattern(written);
    this.input.setAttribute("aria-invalid", String(Boolean(this.fault)));
    byId("log-previous").disabled = byId("log-next").disabled = !this.active;
    if (this.active) this.add([...this.box.querySelectorAll(".line:not(.note)")]);
    if (!this.pattern) this.show(this.query ? -1 : 0);
    this.onChange();
  }

  startPattern(source) {
    let isFirst = true;
    return new LinePattern(source, {
      onMatches: ({ line }, places) => {
        line.classList.toggle("hit", places.length > 0);
        if (places.length) this.places.set(line, places);
      },
      onDone: () => {
        this.show(isFirst ? -1 : 0);
        isFirst = false;
        this.onChange();
      },
      onSlow: () => {
        this.pattern = null;
        this.fault = this.texts.slow_pattern;
        this.input.setAttribute("aria-invalid", "true");
        for (const line of this.box.querySelectorAll(".line.hit")) line.classList.remove("hit");
        this.show(0);
        this.onChange();
      },
    });
  }

  // New lines: looked at now, or in their turn.
  add(lines) {
    if (this.pattern) this.pattern.look(lines.map((line) => ({ line, text: line.querySelector(".text").textContent })));
    else if (this.query) for (const line of lines) line.classList.toggle("hit", line.textContent.toLowerCase().includes(this.query));
  }

  // Marks follow lines that come quickly at their own pace.
  refresh() {
    if (this.query && !this.timer) this.timer = setTimeout(() => ((this.timer = 0), this.show(0)), 400);
  }

  rangesOf(line) {
    if (this.query) return rangesIn(line, plainPlaces(line.textContent.toLowerCase(), this.query));
    return rangesIn(line.querySelector(".text"), this.places.get(line) ?? []);
  }

  // Marks the matches; goes to the next (1) or the one before (-1).
  show(step) {
    this.hits = this.active ? [...this.box.querySelectorAll(".line.hit")].filter(this.isShown) : [];
    if (this.active) highlights?.set("found", new Highlight(...this.hits.slice(-MOST_MARKED).flatMap((line) => this.rangesOf(line))));
    else highlights?.delete("found");
    if (step && this.hits.length) {
      // Backwards from nowhere leads to the newest.
      if (this.place < 0 && step < 0) this.place = 0;
      this.place = (this.place + step + this.hits.length) % this.hits.length;
      this.box.querySelector(".line.here")?.classList.remove("here");
      this.hits[this.place].classList.add("here");
      this.onMove();
      this.hits[this.place].scrollIntoView({ block: "center" });
    }
    byId("log-found").textContent = this.label();
  }

  label() {
    if (this.fault) return this.fault === this.texts.slow_pattern ? this.fault : fill(this.texts.bad_pattern, { reason: this.fault });
    if (!this.active) return "";
    if (!this.hits.length) return this.texts.nothing;
    return fill(this.texts.found, { here: Math.max(this.place + 1, 1), count: this.hits.length });
  }
}
