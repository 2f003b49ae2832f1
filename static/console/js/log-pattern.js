// A regular expression that is looked for beside the page: one that backtracks for ever is ended, and the page goes on.
const LONGEST_LINE = 8192;
const BATCH = 1000;
// For one batch; an expression that does its work needs a few milliseconds.
const PATIENCE = 1500;

// Why it is no expression; "" for a good one. Without the engine's "Invalid regular expression: /…/: ".
export function patternFault(source) {
  try {
    RegExp(source, "gi");
    return "";
  } catch (error) {
    return error.message.replace(/^Invalid regular expression: \/.*\/[a-z]*: /s, "");
  }
}

export class LinePattern {
  // `onMatches(item, ranges)` for every line, `onDone()` after each batch, `onSlow()` when it was given up.
  constructor(source, { onMatches, onDone, onSlow }) {
    this.source = source;
    this.callbacks = { onMatches, onDone, onSlow };
    this.waiting = [];
    this.batch = null;
    this.number = 0;
    this.ready = false;
    this.worker = new Worker(new URL("./log-pattern-worker.js", import.meta.url));
    this.worker.addEventListener("message", (event) => this.receive(event.data));
    // An expression that this engine compiles only when it is used may still fail there.
    this.worker.addEventListener("error", () => this.giveUp());
  }

  // Items {text, …}; the rest of a very long line is not looked at.
  look(items) {
    for (const item of items) this.waiting.push(item);
    this.send();
  }

  send() {
    if (!this.worker || !this.ready || this.batch || !this.waiting.length) return;
    this.batch = this.waiting.splice(0, BATCH);
    this.number += 1;
    this.timer = setTimeout(() => this.giveUp(), PATIENCE);
    const lines = this.batch.map((item) => item.text.slice(0, LONGEST_LINE));
    this.worker.postMessage({ source: this.source, lines, number: this.number });
  }

  receive(answer) {
    if (answer.ready) this.ready = true;
    else if (answer.number === this.number && this.batch) {
      clearTimeout(this.timer);
      const items = this.batch;
      this.batch = null;
      items.forEach((item, index) => this.callbacks.onMatches(item, answer.results[index]));
      this.callbacks.onDone();
    }
    this.send();
  }

  giveUp() {
    if (!this.worker) return;
    this.end();
    this.callbacks.onSlow();
  }

  end() {
    clearTimeout(this.timer);
    this.worker?.terminate();
    this.worker = null;
    this.waiting = [];
    this.batch = null;
  }
}
