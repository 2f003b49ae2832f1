// The terminal page: xterm.js on a socket that can be lost and found again while the shell goes on.
import { Backoff, RequestError, data, fill, post } from "./sockets.js";
import { TerminalTools, fontSize } from "./terminal-tools.js";

const config = data("terminal-config");
const texts = config.texts;
const byId = (id) => document.getElementById(id);
// Somewhat less than the server holds a shell that nobody shows.
const HOLD = Math.max(config.hold * 1000 - 5000, config.hold * 900);

// xterm puts style elements into the page; the page's policy takes those that carry its nonce.
const nonce = byId("terminal").dataset.nonce;
const make = document.createElement.bind(document);
document.createElement = (name, options) => {
  const made = make(name, options);
  if (String(name).toLowerCase() === "style") made.nonce = nonce;
  return made;
};

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const dark = colour("color-scheme") === "dark" || style.colorScheme === "dark";
  const ansi = dark
    ? { black: "#3b4754", red: "#f4877c", green: "#4fc585", yellow: "#e0a64a", blue: "#79aef5", magenta: "#cf9bf0", cyan: "#4cb3d6", white: "#e3e8ed" }
    : { black: "#1a2027", red: "#b8261b", green: "#1a7f45", yellow: "#8a5200", blue: "#2563b8", magenta: "#8a3db0", cyan: "#0a6485", white: "#5c6773" };
  const bright = Object.fromEntries(Object.entries(ansi).map(([name, value]) => [`bright${name[0].toUpperCase()}${name.slice(1)}`, value]));
  return { background: colour("--paper"), foreground: colour("--ink"), cursor: colour("--accent"), selectionBackground: dark ? "#2f5566" : "#bfe0ec", ...ansi, ...bright };
}

const terminal = new Terminal({
  theme: theme(),
  fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
  fontSize: fontSize(),
  cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
  scrollback: 10000,
  minimumContrastRatio: 4.5,
  screenReaderMode: localStorage.getItem("kubegale.reader") === "1",
  // A shell must not be able to open pages or to read the clipboard; nobody gave it a handler.
  allowProposedApi: false,
});
const fitting = new FitAddon.FitAddon();
terminal.loadAddon(fitting);
terminal.open(byId("terminal"));
fitting.fit();
document.addEventListener("themechange", () => (terminal.options.theme = theme()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (terminal.options.theme = theme()));

let socket = null;
let session = null;
let attempt = 0;
let timer = 0;
let lostSince = 0;
const backoff = new Backoff();

function showState(word, severity) {
  const status = byId("terminal-state");
  status.className = `status ${severity}`;
  status.textContent = word;
  status.hidden = !word;
  const running = severity === "good" || severity === "busy";
  byId("terminal-open").hidden = running;
  byId("terminal-end").hidden = !running;
}

function send(frame) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}

// --- the session ----------------------------------------------------------------------------------------------------
async function startSession() {
  const ownAttempt = ++attempt;
  clearTimeout(timer);
  // The shell before this one was left on purpose: it is not held.
  send({ type: "close" });
  socket?.close(1000);
  session = null;
  starting = false;
  lostSince = 0;
  terminal.reset();
  showState(texts.connecting, "busy");
  let ticket;
  try {
    ticket = await post(config.ticket, { container: byId("terminal-container")?.value ?? config.container, shell: byId("terminal-shell").value });
  } catch (error) {
    if (ownAttempt !== attempt) return;
    const reason = error instanceof RequestError ? `${error.message} ${error.hint}`.trim() : texts.lost;
    showState(fill(texts.failed, { reason }), "bad");
    return;
  }
  if (ownAttempt === attempt) attach(new WebSocket(ticket.terminal_url), ownAttempt);
}

// Back to the shell that goes on: with the token of its last word, from the last piece that was shown.
function resume() {
  const ownAttempt = ++attempt;
  const { address, token, seq, id } = session;
  showState(texts.connecting, "busy");
  const again = new WebSocket(address);
  again.addEventListener("open", () => again.send(JSON.stringify({ type: "attach", session: id, last_seq: seq, token })));
  attach(again, ownAttempt);
}

function attach(newSocket, ownAttempt) {
  socket = newSocket;
  newSocket.addEventListener("message", (event) => ownAttempt === attempt && onMessage(JSON.parse(event.data), newSocket));
  newSocket.addEventListener("close", (event) => ownAttempt === attempt && onClose(event));
}

function onMessage(frame, newSocket) {
  switch (frame.type) {
    case "data":
      if (session) session.seq = frame.seq;
      terminal.write(frame.data.output);
      break;
    case "status":
      if (frame.state === "connected") onConnected(frame, newSocket);
      else {
        starting = true;
        showState(texts.starting, "busy");
      }
      break;
    case "dropped":
      printNotice(texts.dropped);
      break;
    case "close":
      ended = frame.data.exit_code === null ? fill(texts.failed, { reason: frame.data.error }) : fill(texts.exited, { code: frame.data.exit_code });
      break;
    case "closed":
      // Came back too late, or to a process that was started anew: the shell is gone.
      ended = texts.over;
      break;
    case "error":
      ended ||= frame.msg;
      break;
    case "ping":
      send({ type: "pong" });
  }
}

let ended = "";
let starting = false;
function onConnected(frame, newSocket) {
  const address = newSocket.url.replace(/\?.*$/, "");
  // A shell that took its time is announced twice: when there is a session, and when there is a shell.
  const back = Boolean(session) && !starting;
  starting = false;
  session = { id: frame.session, token: frame.token, seq: session?.seq ?? 0, address };
  keepSession();
  backoff.reset();
  lostSince = 0;
  ended = "";
  showState(back ? texts.back : texts.connected, "good");
  resize();
  terminal.focus();
  if (!back) enterDirectory();
}

// Typed as the person would have: quoted whole, and with a blank before it that keeps it out of the history.
let entered = false;
function enterDirectory() {
  if (!config.directory || entered) return;
  entered = true;
  send({ type: "data", data: { input: ` cd '${config.directory.replaceAll("'", "'\\''")}'\n` } });
}

function printNotice(text) {
  terminal.write(`\r\n\x1b[2m${text}\x1b[0m\r\n`);
}

const CLOSE_TEXTS = { 4001: "signed_out", 4003: "signed_out", 4004: "gone", 4008: "idle", 4009: "replaced", 4010: "lost", 1000: "over" };

function onClose(event) {
  socket = null;
  const vanished = [1001, 1006, 1012].includes(event.code);
  lostSince ||= Date.now();
  if (session && vanished && Date.now() - lostSince < HOLD) {
    const seconds = Math.min(backoff.next(), 8);
    showState(fill(texts.again, { seconds: Math.round(seconds) }), "warn");
    timer = setTimeout(resume, seconds * 1000);
    return;
  }
  const notice = ended || event.reason || "";
  const text = ended || texts[CLOSE_TEXTS[event.code] ?? "over"] || event.reason;
  showState(text, event.code === 1000 ? "idle" : "bad");
  if (notice && session) printNotice(text);
  endSession();
}

// --- over a reload: the shell goes on while the page around it is another one -------------------------------------------
// Each tab of the dock has its own, a page of its own the one of its address.
const dockEntry = new URLSearchParams(location.search).get("dock");
const STORED = `kubegale.terminal.${dockEntry || location.pathname + location.search}`;
const choices = [byId("terminal-container"), byId("terminal-shell")];

function keepSession() {
  const chosen = choices.map((choice) => choice?.value ?? "");
  sessionStorage.setItem(STORED, JSON.stringify({ ...session, chosen, until: Date.now() + HOLD }));
}

// Nothing leads back to a shell that is gone.
function endSession() {
  session = null;
  sessionStorage.removeItem(STORED);
}

addEventListener("pagehide", () => session && keepSession());

// True when the shell of the page before can be attached to; its output comes again from the beginning.
function takeSession() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORED) || "null");
    sessionStorage.removeItem(STORED);
    // The address is a socket's: a ticket's, as this page itself stored it.
    if (!kept || kept.until < Date.now()) return false;
    session = { id: kept.id, token: kept.token, seq: 0, address: kept.address };
    choices.forEach((choice, index) => {
      if (choice && [...choice.options].some((option) => option.value === kept.chosen?.[index])) choice.value = kept.chosen[index];
    });
    return true;
  } catch {
    return false;
  }
}

// --- the keyboard and the window --------------------------------------------------------------------------------------
terminal.onData((input) => send({ type: "data", data: { input: withControl(input) } }));
terminal.onBinary((input) => send({ type: "data", data: { input } }));
terminal.onResize(({ cols, rows }) => send({ type: "resize", data: { cols, rows } }));

// Keys that phones do not have; Ctrl holds for the next letter.
const SEQUENCES = { esc: "\x1b", tab: "\t", up: "\x1b[A", down: "\x1b[B", right: "\x1b[C", left: "\x1b[D" };
const controlKey = document.querySelector('.terminal-keys [data-key="ctrl"]');

function holdControl(held) {
  controlKey?.setAttribute("aria-pressed", String(held));
}

function withControl(input) {
  if (controlKey?.getAttribute("aria-pressed") !== "true") return input;
  holdControl(false);
  // A control character is its letter's code without the upper bits.
  return input.length === 1 ? String.fromCharCode(input.toUpperCase().charCodeAt(0) & 31) : input;
}

document.querySelector(".terminal-keys")?.addEventListener("click", (event) => {
  const key = event.target.closest("[data-key]")?.dataset.key;
  if (!key) return;
  if (key === "ctrl") holdControl(controlKey.getAttribute("aria-pressed") !== "true");
  else send({ type: "data", data: { input: SEQUENCES[key] } });
  terminal.focus();
});

function resize() {
  fitting.fit();
  send({ type: "resize", data: { cols: terminal.cols, rows: terminal.rows } });
}
let waiting = 0;
new ResizeObserver(() => {
  clearTimeout(waiting);
  waiting = setTimeout(() => fitting.fit(), 80);
}).observe(byId("terminal"));

const tools = new TerminalTools(terminal, { fit: () => fitting.fit(), texts });
terminal.attachCustomKeyEventHandler((event) => {
  // Ctrl+F6 leaves for who has no mouse; Ctrl+Shift+C copies, Ctrl+Shift+F searches, the browser itself
  // pastes with Ctrl+Shift+V; everything else is the shell's.
  if (event.type !== "keydown") return true;
  if (event.ctrlKey && event.key === "F6") {
    byId("terminal-shell").focus();
    return false;
  }
  return !tools.takesKey(event);
});

byId("terminal-open").addEventListener("click", startSession);
byId("terminal-end").addEventListener("click", () => {
  clearTimeout(timer);
  if (socket?.readyState === WebSocket.OPEN) send({ type: "close" });
  else {
    attempt += 1;
    endSession();
    socket?.close();
    showState(texts.over, "idle");
  }
});
byId("terminal-container")?.addEventListener("change", startSession);
byId("terminal-shell").addEventListener("change", () => !config.ask && startSession());
const reader = byId("terminal-reader");
reader.checked = terminal.options.screenReaderMode;
reader.addEventListener("change", () => {
  terminal.options.screenReaderMode = reader.checked;
  localStorage.setItem("kubegale.reader", reader.checked ? "1" : "0");
});
addEventListener("online", () => session && !socket && resume());
if (takeSession()) resume();
else if (config.ask) showState("", "idle");
else startSession();
