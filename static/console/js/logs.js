// The log page: a stream by WebSocket, kept whole over broken connections, shown as text and nothing else.
import { Backoff, RequestError, data, fill, post } from "./sockets.js";
import { pieces } from "./ansi.js";
import { copyFrom } from "./clipboard.js";
import { levelOf } from "./log-levels.js";
import { LineOrder, indexFor } from "./log-order.js";
import { LineSearch } from "./log-search.js";
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
const levelChoice = byId("log-level");
const onlyChoice = byId("log-only");

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
// The lines on the page in their order, oldest first: {time, source, node}.
let rows = [];
const order = new LineOrder();

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
  line.dataset.level = lineLevel(frame.data.source, text.textContent);
  return line;
}

function appendNote(text) {
  if (!text) return;
  chunk().append(element("div", "line note", text));
  scroll();
}

// Several containers send their lines one container after the other: each line goes where it belongs.
function placeLine(node, frame) {
  const place = order.place(frame.data);
  const index = indexFor(rows, place);
  if (index === rows.length) chunk().append(node);
  else rows[index].node.before(node);
  rows.splice(index, 0, { ...place, node });
}

function appendLines(lines) {
  const wasNew = count === 0;
  if (wasNew) byId("log-empty").hidden = true;
  const added = [];
  for (const frame of lines) {
    const line = row(frame);
    placeLine(line, frame);
    added.push(line);
    cursors[frame.data.source] = frame.data.cursor;
  }
  search.add(added);
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
    search.refresh();
    const hidden = countHidden();
    byId("log-hidden").textContent = hidden ? fill(texts.hidden, { count: hidden.toLocaleString() }) : "";
  });
}

let lastTop = 0;
let lastHeight = 0;
function scroll() {
  if (following) box.scrollTop = box.scrollHeight;
  lastTop = box.scrollTop;
  lastHeight = box.scrollHeight;
}

// When the person last did what scrolls up: a scroll event itself does not tell whose it is.
const BY_HAND_MS = 1000;
let byHand = -BY_HAND_MS;
const noteHand = () => (byHand = performance.now());
box.addEventListener("wheel", (event) => event.deltaY < 0 && noteHand(), { passive: true });
box.addEventListener("touchmove", noteHand, { passive: true });
box.addEventListener("pointerdown", noteHand);
box.addEventListener("pointermove", (event) => event.buttons && noteHand());
box.addEventListener("keydown", (event) => ["ArrowUp", "PageUp", "Home", " "].includes(event.key) && noteHand());

box.addEventListener("scroll", () => {
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  // The event of the page's own scrolling comes late, when more lines may stand below, and the browser
  // moves what is shown when lines above it are laid out, come between or go. Only who moves up by
  // hand, or in a log that has not changed its height, wants to read on in peace.
  const mayBePerson = performance.now() - byHand < BY_HAND_MS || box.scrollHeight === lastHeight;
  const movedUp = box.scrollTop < lastTop - 2 && mayBePerson;
  lastTop = box.scrollTop;
  lastHeight = box.scrollHeight;
  if (atEnd === following || (following && !movedUp)) {
    if (following && !atEnd) scroll();
    return;
  }
  setFollowing(atEnd);
});

function setFollowing(follows) {
  following = follows;
  if (following) unseen = 0;
  // Who reads in peace keeps the lines in place; who follows is taken to the end.
  box.classList.toggle("following", following);
  scheduleUpdate();
}

jump.addEventListener("click", () => {
  setFollowing(true);
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

// --- filters --------------------------------------------------------------------------------------------------------
const search = new LineSearch({
  box,
  texts,
  isShown: (line) => isShown(line),
  onMove: () => setFollowing(false),
  onChange: () => {
    box.classList.toggle("only", onlyChoice.checked && search.active);
    scheduleUpdate();
  },
});

// A line without a level belongs to the one before it of the same container: stack traces do.
const levels = new Map();
function lineLevel(source, text) {
  const level = levelOf(text) || (/^\s/.test(text) ? levels.get(source) : "") || "";
  if (level) levels.set(source, level);
  return level;
}

const SHOWN = { error: ["error"], warn: ["error", "warn"], info: ["error", "warn", "info"], debug: ["error", "warn", "info", "debug"] };

// As the style sheet has it, but asking for the layout of thousands of lines would take long.
function isShown(line) {
  const levelsShown = SHOWN[box.dataset.level];
  if (levelsShown && !levelsShown.includes(line.dataset.level)) return false;
  return !box.classList.contains("only") || line.classList.contains("hit");
}

function countHidden() {
  return rows.filter(({ node }) => !isShown(node)).length;
}


function applyFilters() {
  if (levelChoice.value) box.dataset.level = levelChoice.value;
  else delete box.dataset.level;
  box.classList.toggle("only", onlyChoice.checked && search.active);
  search.show(0);
  scheduleUpdate();
  keep();
}
levelChoice.addEventListener("change", applyFilters);
onlyChoice.addEventListener("change", applyFilters);

// --- what a reload keeps: in the dock for each of its tabs, else for each page --------------------------------------------
const dockEntry = new URLSearchParams(location.search).get("dock");
const STORED = `kubegale.log.${dockEntry || location.pathname}`;

function keep() {
  const kept = { level: levelChoice.value, only: onlyChoice.checked, regex: byId("log-regex").checked, search: byId("log-search").value };
  for (const name of STREAM_FIELDS) if (form.elements[name]) kept[name] = fieldValue(form.elements[name]);
  sessionStorage.setItem(STORED, JSON.stringify(kept));
}

const STREAM_FIELDS = ["container", "tail", "since", "previous"];
const fieldValue = (field) => (field.type === "checkbox" ? field.checked : field.value);

function setField(field, value) {
  if (!field || value === undefined) return;
  if (field.type === "checkbox") field.checked = value === true;
  else if (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === value)) field.value = value;
}

function restore() {
  let kept = {};
  try {
    kept = JSON.parse(sessionStorage.getItem(STORED) || "{}") ?? {};
  } catch {
    // Somebody else's content: nothing is kept.
  }
  setField(levelChoice, kept.level);
  setField(onlyChoice, kept.only);
  setField(byId("log-regex"), kept.regex);
  setField(byId("log-search"), kept.search);
  // What an address asks for is meant, once; a tab of the dock has the same address each time.
  const asked = new URLSearchParams(location.search);
  for (const name of STREAM_FIELDS) if (dockEntry || !asked.has(name)) setField(form.elements[name], kept[name]);
  search.apply();
  applyFilters();
}
form.addEventListener("change", keep);
byId("log-search").addEventListener("change", keep);
addEventListener("pagehide", keep);

byId("log-copy").addEventListener("click", (event) => {
  const lines = rows.filter(({ node }) => isShown(node)).map(({ node }) => copyText(node));
  copyFrom(event.currentTarget, lines.join("\n"), texts);
});

// As it is shown: with times and containers where these are.
function copyText(node) {
  const parts = [node.querySelector(".text").textContent];
  if (box.classList.contains("several")) parts.unshift(node.querySelector(".source").textContent);
  if (box.classList.contains("times")) parts.unshift(node.querySelector("time").dateTime);
  return parts.join(" ");
}

// --- controls -------------------------------------------------------------------------------------------------------
function restart() {
  cursors = {};
  rows = [];
  count = acknowledged = 0;
  setFollowing(true);
  colours.clear();
  levels.clear();
  order.clear();
  for (const old of box.querySelectorAll(".chunk")) old.remove();
  byId("log-empty").hidden = false;
  byId("log-empty").textContent = "";
  byId("log-cut").hidden = true;
  setDownload();
  backoff.reset();
  scheduleUpdate();
  connect();
}

const stamps = byId("log-stamps");
function setDownload() {
  byId("log-download").href = `${config.download}?${new URLSearchParams({
    container: form.elements.container?.value ?? "",
    previous: form.elements.previous?.checked ? "1" : "",
    timestamps: stamps.checked ? "1" : "",
  })}`;
}
stamps.checked = localStorage.getItem("kubegale.log-stamps") === "1";
stamps.addEventListener("change", () => {
  localStorage.setItem("kubegale.log-stamps", stamps.checked ? "1" : "0");
  setDownload();
});

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
for (const [id, style] of [["log-times", "times"], ["log-wrap", "wrap"], ["log-colours", "coloured"]]) {
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
restore();
restart();
