// Search in what a terminal has printed, scrollback and all; a match is selected and scrolled to.
const MOST = 10000;

// The logical lines of a buffer: a long one stands in several rows.
function* lines(buffer) {
  let start = 0;
  let text = "";
  for (let row = 0; row < buffer.length; row += 1) {
    const line = buffer.getLine(row);
    if (!line.isWrapped) {
      if (row) yield { start, text };
      start = row;
      text = "";
    }
    text += line.translateToString(!buffer.getLine(row + 1)?.isWrapped);
  }
  yield { start, text };
}

// The cell of each letter of a logical line: wide letters take two, so that letters and cells differ.
function cells(buffer, start) {
  const found = [];
  for (let row = start; row === start || buffer.getLine(row)?.isWrapped; row += 1) {
    const line = buffer.getLine(row);
    for (let col = 0; col < line.length; col += 1) {
      const cell = line.getCell(col);
      if (!cell.getWidth()) continue;
      const letters = cell.getChars() || " ";
      for (let unit = 0; unit < letters.length; unit += 1) found.push({ row, col, width: cell.getWidth() });
    }
  }
  return found;
}

function escape(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

// {row, col, length} of each match, in cells.
function matches(terminal, text) {
  const buffer = terminal.buffer.active;
  const pattern = new RegExp(escape(text), "giu");
  const listed = [];
  for (const line of lines(buffer)) {
    let places = null;
    for (const match of line.text.matchAll(pattern)) {
      places ??= cells(buffer, line.start);
      const first = places[match.index];
      const last = places[match.index + match[0].length - 1];
      if (!first || !last) continue;
      const length = (last.row - first.row) * terminal.cols + last.col + last.width - first.col;
      listed.push({ row: first.row, col: first.col, length });
      if (listed.length >= MOST) return listed;
    }
  }
  return listed;
}

export class ScrollbackSearch {
  #terminal;
  #here = null;

  constructor(terminal) {
    this.#terminal = terminal;
  }

  // Goes to the match after the one of before (`step` 1) or before it (-1); {here, count}, from 1.
  move(text, step) {
    const listed = text ? matches(this.#terminal, text) : [];
    if (!listed.length) {
      this.clear();
      return { here: 0, count: 0 };
    }
    const index = this.#nextIndex(listed, step);
    const match = listed[index];
    this.#here = match;
    this.#terminal.select(match.col, match.row, match.length);
    this.#terminal.scrollToLine(Math.max(0, match.row - Math.floor(this.#terminal.rows / 2)));
    return { here: index + 1, count: listed.length };
  }

  // Without one of before the newest, as it stands nearest to the prompt.
  #nextIndex(listed, step) {
    if (!this.#here) return listed.length - 1;
    const order = (match) => (match.row - this.#here.row) * 100000 + match.col - this.#here.col;
    const index = step > 0 ? listed.findIndex((match) => order(match) > 0) : listed.findLastIndex((match) => order(match) < 0);
    if (index >= 0) return index;
    return step > 0 ? 0 : listed.length - 1;
  }

  clear() {
    this.#here = null;
    this.#terminal.clearSelection();
  }
}
