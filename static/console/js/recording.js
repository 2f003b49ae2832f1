// A recorded terminal (asciicast v2) played in xterm.js; long silences are shortened if that is chosen.
import { pieces } from "./ansi.js";
import { data } from "./sockets.js";

const config = data("recording-config");
const byId = (id) => document.getElementById(id);
const LONGEST_SILENCE = 2;
const TICK_MS = 40;

// xterm puts style elements into the page; the page's policy takes those that carry its nonce.
const nonce = byId("recording").dataset.nonce;
const make = document.createElement.bind(document);
document.createElement = (name, options) => {
  const made = make(name, options);
  if (String(name).toLowerCase() === "style") made.nonce = nonce;
  return made;
};

const style = getComputedStyle(document.documentElement);
const terminal = new Terminal({
  cols: config.width,
  rows: config.height,
  disableStdin: true,
  fontSize: 13,
  minimumContrastRatio: 4.5,
  fontFamily: style.getPropertyValue("--mono"),
  theme: { background: style.getPropertyValue("--paper").trim(), foreground: style.getPropertyValue("--ink").trim(), cursor: style.getPropertyValue("--accent").trim() },
});
terminal.open(byId("recording"));

// --- the recording --------------------------------------------------------------------------------------------------
// {real, brief, kind, content}: seconds since the beginning, as they were and without long silences.
let events = [];
let next = 0;
let now = 0;
let timer = 0;
const place = byId("recording-place");
const idle = byId("recording-idle");
const speed = byId("recording-speed");

function parse(text) {
  let last = 0;
  let brief = 0;
  const parsed = [];
  for (const line of text.split("\n").slice(1)) {
    if (!line) continue;
    const [real, kind, content] = JSON.parse(line);
    brief += Math.min(Math.max(real - last, 0), LONGEST_SILENCE);
    last = real;
    parsed.push({ real, brief, kind, content: String(content) });
  }
  return parsed;
}

const clock = () => (idle.checked ? "brief" : "real");
const length = () => events.at(-1)?.[clock()] ?? 0;

// Seconds on one clock as seconds on the other: between two events they go alike.
function translate(seconds, from, to) {
  const before = events.findLast((event) => event[from] <= seconds);
  const after = events.find((event) => event[from] > seconds);
  const start = before?.[to] ?? 0;
  return Math.min(start + seconds - (before?.[from] ?? 0), after?.[to] ?? start);
}

function written(seconds) {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

function resize(size) {
  const [width, height] = size.split("x").map(Number);
  if (width > 0 && height > 0) terminal.resize(width, height);
}

// Everything up to a moment, as few writes as there are sizes: a jump may pass megabytes.
function advance(to) {
  if (to < now) {
    // A reset as output (RIS), behind what is still being written.
    terminal.write("\x1bc", () => terminal.resize(config.width, config.height));
    next = 0;
  }
  now = Math.min(Math.max(to, 0), length());
  let output = "";
  for (; next < events.length && events[next][clock()] <= now; next += 1) {
    const { kind, content } = events[next];
    if (kind === "o") output += content;
    else if (kind === "r") {
      // Written before the size changes; the terminal keeps the order only if it is told so.
      terminal.write(output, () => resize(content));
      output = "";
    }
  }
  if (output) terminal.write(output);
  place.value = String(now);
  const time = `${written(now)} / ${written(length())}`;
  place.setAttribute("aria-valuetext", time);
  if (byId("recording-time").textContent !== time) byId("recording-time").textContent = time;
}

// --- playing --------------------------------------------------------------------------------------------------------
function stop() {
  clearInterval(timer);
  timer = 0;
  byId("recording-play").textContent = config.texts.play;
}

function start() {
  if (next >= events.length) advance(0);
  byId("recording-play").textContent = config.texts.pause;
  let last = performance.now();
  timer = setInterval(() => {
    const moment = performance.now();
    advance(now + ((moment - last) / 1000) * Number(speed.value));
    last = moment;
    if (next >= events.length) stop();
  }, TICK_MS);
}

const toggle = () => (timer ? stop() : start());
const STEP = 5;
const KEYS = {
  " ": toggle,
  ArrowLeft: () => advance(now - STEP),
  ArrowRight: () => advance(now + STEP),
  ArrowUp: () => changeSpeed(1),
  ArrowDown: () => changeSpeed(-1),
  Home: () => advance(0),
  End: () => advance(length()),
};

function changeSpeed(step) {
  speed.selectedIndex = Math.min(Math.max(speed.selectedIndex + step, 0), speed.options.length - 1);
}

// Of fields and buttons the keys are their own; the place has the arrows as the player has them.
document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target !== place && event.target.closest("input, select, textarea, button, a, summary, [contenteditable]")) return;
  event.preventDefault();
  act();
});

byId("recording-play").addEventListener("click", toggle);
place.addEventListener("input", () => advance(Number(place.value)));

idle.checked = localStorage.getItem("kubegale.recording-idle") !== "0";
idle.addEventListener("change", () => {
  localStorage.setItem("kubegale.recording-idle", idle.checked ? "1" : "0");
  // The other clock: at the same event as before.
  now = translate(now, idle.checked ? "real" : "brief", clock());
  place.max = String(length());
  advance(now);
});

// --- where commands were entered ------------------------------------------------------------------------------------
const MOST_COMMANDS = 500;
// A prompt of a common shell and what stands behind it. Only output is recorded, so nothing else tells.
const PROMPT = /^[^\s][^$#%>❯]{0,120}[$#%>❯] +(\S.*)$|^[$#%❯] +(\S.*)$/u;

// {real, text} of each line that looks like a prompt with a command.
function commands() {
  const listed = [];
  let line = "";
  for (const { real, kind, content } of events) {
    if (kind !== "o") continue;
    const lines = (line + content).split("\n");
    line = lines.pop().slice(-4096);
    for (const whole of lines) {
      const match = PROMPT.exec(plain(whole));
      if (match) listed.push({ real, text: (match[1] ?? match[2]).trim().slice(0, 200) });
    }
    if (listed.length >= MOST_COMMANDS) break;
  }
  return listed;
}

// As it stood on the screen: a backspace takes what was typed before it.
function plain(line) {
  let text = pieces(line.replace(/.?\x08(?:\x1b\[K| \x08)/gu, "")).map((piece) => piece.text).join("");
  const back = text.lastIndexOf("\u240d");
  if (back >= 0) text = text.slice(back + 1);
  return text;
}

function listCommands() {
  const list = byId("recording-commands");
  const listed = commands();
  if (!listed.length) list.textContent = config.texts.no_commands;
  for (const { real, text } of listed) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    const time = document.createElement("span");
    time.textContent = written(real);
    const code = document.createElement("code");
    code.textContent = text;
    button.append(time, code);
    button.addEventListener("click", () => advance(translate(real, "real", clock())));
    item.append(button);
    list.append(item);
  }
}

try {
  const answer = await fetch(config.cast);
  if (!answer.ok) throw new Error(String(answer.status));
  events = parse(await answer.text());
  place.max = String(length());
  listCommands();
  const at = Number(new URLSearchParams(location.search).get("at"));
  // A match of the search: stands still, so that it can be read.
  if (at > 0) advance(translate(at, "real", clock()));
  else start();
} catch {
  terminal.write(config.texts.failed);
}
