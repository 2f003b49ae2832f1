// The log page: a stream by WebSocket, kept whole over broken connections, shown as text and nothing else.
import { Backoff, RequestError, data, fill, post } from "./sockets.js";
import { pieces } from "./ansi.js";
import { moment } from "./times.js";

const MOST_LINES = 20000;
const CHUNK = 200;
const ACK_EVERY = 500;
const config = data("log-config");
const texts = config.texts;
const byId = (id) => document.getElementById(id);
const box = byId("log");
const form = byId("log-form");
const jump = byId("log-jump");

let socket = null;
let attempt = 0;
let cursors = {};
let paused = false;
let following = true;
let unseen = 0;
let count = 0;
let acknowledged = 0;
let timer = 0;
const backoff = new Backoff();
const colours = new Map();
// The lines on the page by time, oldest first: {key, node}.
let rows = [];

// --- what is shown --------------------------------------------------------------------------------------------------
function chunk() {
  const last = box.lastElementChild;
  if (last?.classList.contains("chunk") && last.childElementCount < CHUNK) return last;
  const node = document.createElement("div");
  node.className = "chunk";
  box.append(node);
  return node;
}

function colour(source) {
  if (!colours.has(source)) colours.set(source, `source-${colours.size % 8}`);
  return colours.get(source);
}

function element(name, style, text) {
  const node = document.createElement(name);
  if (style) node.className = style;
  if (text !== undefined) node.textContent = text;
  return node;
}

function row(frame) {
  const line = element("div", "line");
  const when = element("time", "", moment(new Date(frame.data.timestamp)));
  when.dateTime = frame.data.timestamp;
  when.title = frame.data.timestamp;
  line.append(when, element("span", `source ${colour(frame.data.source)}`, frame.data.source));
  const text = element("span", "text");
  for (const piece of pieces(frame.data.content)) {
    text.append(piece.style ? element("span", piece.style, piece.text) : document.createTextNode(piece.text));
  }
  line.append(text);
  return line;
}

function appendNote(text) {
  if (!text) return;
  chunk().append(element("div", "line note", text));
  scroll();
}

// Milliseconds since 1970, with the digits below them: "…:05.1234567Z" has seven.
function timeKey(timestamp) {
  const digits = /\.\d{3}(\d+)/.exec(timestamp)?.[1] ?? "0";
  return Date.parse(timestamp) + Number(`0.${digits}`);
}

// Several containers send their lines one container after the other: each line goes where its time
// belongs, behind lines of the same moment. Lines of one container keep their order.
function placeLine(node, frame) {
  const key = timeKey(frame.data.timestamp);
  let low = 0;
  let high = rows.length;
  // A line without a time, and nearly every line that is followed, belongs at the end.
  if (Number.isNaN(key) || !high || rows[high - 1].key <= key) low = high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].key <= key) low = middle + 1;
    else high = middle;
  }
  if (low === rows.length) {
    chunk().append(node);
    rows.push({ key: Number.isNaN(key) ? (rows.at(-1)?.key ?? 0) : key, node });
  } else {
    rows[low].node.before(node);
    rows.splice(low, 0, { key, node });
  }
}

function appendLines(lines) {
  const wasNew = count === 0;
  if (wasNew) byId("log-empty").hidden = true;
  for (const frame of lines) {
    const line = row(frame);
    if (query) markHit(line);
    placeLine(line, frame);
    cursors[frame.data.source] = frame.data.cursor;
  }
  count += lines.length;
  if (!following) unseen += lines.length;
  dropOldLines();
  scheduleUpdate();
}

function dropOldLines() {
  while (count > MOST_LINES + CHUNK && box.childElementCount > 1) {
    const oldest = box.firstElementChild;
    const dropped = oldest.querySelectorAll(".line:not(.note)").length;
    count -= dropped;
    rows = rows.slice(dropped);
    oldest.remove();
    byId("log-cut").hidden = false;
  }
}

let planned = false;
function scheduleUpdate() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    byId("log-count").textContent = fill(texts.lines, { count: count.toLocaleString() });
    jump.hidden = following;
    jump.textContent = unseen ? fill(texts.newer, { count: unseen.toLocaleString() }) : "↓";
    box.classList.toggle("several", colours.size > 1);
    scroll();
    if (query && !searchTimer) searchTimer = setTimeout(() => ((searchTimer = 0), showHits(false)), 400);
  });
}
let searchTimer = 0;

let lastTop = 0;
let lastHeight = 0;
function scroll() {
  if (following) box.scrollTop = box.scrollHeight;
  lastTop = box.scrollTop;
  lastHeight = box.scrollHeight;
}

box.addEventListener("scroll", () => {
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  // The event of the page's own scrolling comes late, when more lines may stand below. Only who moves
  // up, while nothing was removed above, wants to read on in peace.
  const movedUp = box.scrollTop < lastTop - 2 && box.scrollHeight >= lastHeight;
  lastTop = box.scrollTop;
  lastHeight = box.scrollHeight;
  if (atEnd === following || (following && !movedUp)) {
    if (following && !atEnd) scroll();
    return;
  }
  following = atEnd;
  if (following) unseen = 0;
  scheduleUpdate();
});
jump.addEventListener("click", () => {
  following = true;
  unseen = 0;
  scheduleUpdate();
  box.focus();
});

function showState(word, severity) {
  const status = byId("log-state");
  status.className = `status ${severity}`;
  if (status.textContent !== word) status.textContent = word;
}

// --- the stream -----------------------------------------------------------------------------------------------------
function streamOptions() {
  const chosen = form.elements.container?.value ?? "";
  const values = { containers: chosen, previous: form.elements.previous?.checked ?? false };
  if (Object.keys(cursors).length) return { ...values, cursor: cursors };
  return { ...values, tail_lines: form.elements.tail.value, since_seconds: form.elements.since.value };
}

async function connect() {
  const ownAttempt = ++attempt;
  clearTimeout(timer);
  socket?.close();
  socket = null;
  showState(texts.connecting, "busy");
  let ticket;
  try {
    ticket = await post(config.ticket, streamOptions());
  } catch (error) {
    if (ownAttempt === attempt) onRefused(error);
    return;
  }
  if (ownAttempt !== attempt) return;
  acknowledged = 0;
  socket = new WebSocket(ticket.ws_url);
  socket.addEventListener("message", (event) => ownAttempt === attempt && onMessage(JSON.parse(event.data)));
  socket.addEventListener("close", (event) => ownAttempt === attempt && onClose(event));
}

function onRefused(error) {
  if (error instanceof RequestError && error.status < 500 && error.status !== 429) {
    showState(error.message, "bad");
    appendNote(`${error.message} ${error.hint}`.trim());
  } else {
    retryLater();
  }
}

function retryLater() {
  const seconds = backoff.next();
  showState(fill(texts.again, { seconds: Math.round(seconds) }), "warn");
  timer = setTimeout(connect, seconds * 1000);
}

let endText = "";
function onClose(event) {
  socket = null;
  if (event.code === 1000) {
    showState(endText || texts.ended, "idle");
    appendNote(endText || texts.ended);
  } else if (event.code === 4001 || event.code === 4003) {
    showState(texts.signed_out, "bad");
    appendNote(event.reason || texts.signed_out);
  } else if (event.code === 4004 || event.code === 1008) {
    showState(event.reason || texts.ended, "idle");
    appendNote(event.reason);
  } else {
    retryLater();
  }
}

function onMessage(frame) {
  const send = (reply) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(reply));
  switch (frame.type) {
    case "log":
      appendLines([frame]);
      break;
    case "batch":
      return onBatch(frame.frames, send);
    case "status":
      onStatus(frame);
      break;
    case "dropped":
      appendNote(fill(texts.dropped, frame));
      break;
    case "error":
      appendNote(frame.msg);
      break;
    case "ping":
      send({ type: "pong" });
  }
  return acknowledge(frame.seq, send);
}

function onBatch(frames, send) {
  let lines = [];
  for (const frame of frames) {
    if (frame.type === "log") {
      lines.push(frame);
    } else {
      if (lines.length) appendLines(lines);
      lines = [];
      onMessage(frame);
    }
  }
  if (lines.length) appendLines(lines);
  acknowledge(frames.findLast((frame) => frame.seq)?.seq, send);
}

function acknowledge(seq, send) {
  if (seq && seq - acknowledged >= ACK_EVERY) {
    acknowledged = seq;
    send({ type: "ack", seq });
  }
}

function onStatus(frame) {
  const about = { source: frame.source ?? "", reason: frame.reason ? `(${frame.reason})` : "" };
  switch (frame.state) {
    case "connected":
      backoff.reset();
      endText = "";
      if (!frame.source) showState(paused ? texts.paused : texts.live, paused ? "idle" : "good");
      byId("log-empty").textContent = texts.waiting;
      if (paused) socket.send(JSON.stringify({ type: "pause" }));
      break;
    case "reconnecting":
      appendNote(fill(texts.reconnecting, about));
      break;
    case "container_restarted":
      appendNote(fill(texts.restarted, about));
      break;
    case "limited":
      appendNote(fill(texts.limited, about));
      break;
    case "eof":
      endText = frame.reason?.startsWith("pod_") ? texts.gone : texts.ended;
  }
}

// --- search ---------------------------------------------------------------------------------------------------------
let query = "";
let hits = [];
let currentHit = -1;
const highlights = "highlights" in CSS ? CSS.highlights : null;

function markHit(line) {
  line.classList.toggle("hit", Boolean(query) && line.textContent.toLowerCase().includes(query));
}

// Ranges of what is looked for, in the text of the lines that have it.
function hitRanges(line) {
  const matches = [];
  const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.toLowerCase();
    for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) {
      const range = new Range();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + query.length);
      matches.push(range);
    }
  }
  return matches;
}

function showHits(moving) {
  hits = query ? [...box.querySelectorAll(".line.hit")] : [];
  if (highlights) {
    if (query) highlights.set("found", new Highlight(...hits.slice(-2000).flatMap(hitRanges)));
    else highlights.delete("found");
  }
  if (moving && hits.length) {
    currentHit = (currentHit + moving + hits.length) % hits.length;
    box.querySelector(".line.here")?.classList.remove("here");
    hits[currentHit].classList.add("here");
    following = false;
    hits[currentHit].scrollIntoView({ block: "center" });
    jump.hidden = false;
  }
  const label = query ? (hits.length ? fill(texts.found, { here: Math.max(currentHit + 1, 1), count: hits.length }) : texts.nothing) : "";
  byId("log-found").textContent = label;
}

function search() {
  query = byId("log-search").value.toLowerCase();
  currentHit = -1;
  for (const line of box.querySelectorAll(".line")) markHit(line);
  byId("log-previous").disabled = byId("log-next").disabled = !query;
  showHits(query ? -1 : 0);
}

let typed = 0;
byId("log-search").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(search, 120);
});
byId("log-search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    showHits(event.shiftKey ? -1 : 1);
  }
});
byId("log-previous").addEventListener("click", () => showHits(-1));
byId("log-next").addEventListener("click", () => showHits(1));
byId("log-only").addEventListener("change", (event) => box.classList.toggle("only", event.target.checked));

// --- controls -------------------------------------------------------------------------------------------------------
function restart() {
  cursors = {};
  rows = [];
  count = acknowledged = unseen = 0;
  following = true;
  colours.clear();
  for (const old of box.querySelectorAll(".chunk")) old.remove();
  byId("log-empty").hidden = false;
  byId("log-empty").textContent = "";
  byId("log-cut").hidden = true;
  byId("log-download").href = `${config.download}?${new URLSearchParams({
    container: form.elements.container?.value ?? "",
    previous: form.elements.previous?.checked ? "1" : "",
  })}`;
  backoff.reset();
  scheduleUpdate();
  connect();
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", (event) => event.target.closest("[data-stream]") && restart());
byId("log-pause").addEventListener("click", (event) => {
  paused = !paused;
  event.currentTarget.setAttribute("aria-pressed", String(paused));
  event.currentTarget.textContent = event.currentTarget.dataset[paused ? "resume" : "pause"];
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: paused ? "pause" : "resume" }));
  showState(paused ? texts.paused : texts.live, paused ? "idle" : "good");
});
for (const [id, style] of [["log-times", "times"], ["log-wrap", "wrap"]]) {
  const choice = byId(id);
  const stored = localStorage.getItem(`kubegale.${id}`);
  if (stored !== null) choice.checked = stored === "1";
  else if (id === "log-times" && matchMedia("(max-width: 760px)").matches) choice.checked = false;
  const apply = () => {
    box.classList.toggle(style, choice.checked);
    localStorage.setItem(`kubegale.${id}`, choice.checked ? "1" : "0");
    scroll();
  };
  choice.addEventListener("change", apply);
  apply();
}
addEventListener("pagehide", () => socket?.close());
addEventListener("online", () => !socket && timer && connect());
restart();
