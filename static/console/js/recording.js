// A recorded terminal (asciicast v2) played in xterm.js; long silences are shortened.
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

let events = [];
let next = 0;
let now = 0;
let timer = 0;

function parse(text) {
  let last = 0;
  let place = 0;
  const parsed = [];
  for (const line of text.split("\n").slice(1)) {
    if (!line) continue;
    const [at, kind, content] = JSON.parse(line);
    place += Math.min(Math.max(at - last, 0), LONGEST_SILENCE);
    last = at;
    parsed.push({ at: place, kind, content });
  }
  return parsed;
}

function show(event) {
  if (event.kind === "o") terminal.write(event.content);
  else if (event.kind === "r") {
    const [width, height] = String(event.content).split("x").map(Number);
    if (width > 0 && height > 0) terminal.resize(width, height);
  }
}

function advance(to) {
  if (to < now) {
    terminal.reset();
    next = 0;
  }
  now = to;
  while (next < events.length && events[next].at <= now) show(events[next++]);
  byId("recording-place").value = String(now);
  byId("recording-time").textContent = `${Math.floor(now)} / ${Math.ceil(events.at(-1)?.at || 0)} s`;
}

function stop() {
  clearInterval(timer);
  timer = 0;
  byId("recording-play").textContent = config.texts.play;
}

function start() {
  if (next >= events.length) advance(0);
  byId("recording-play").textContent = config.texts.pause;
  timer = setInterval(() => {
    advance(now + (TICK_MS / 1000) * Number(byId("recording-speed").value));
    if (next >= events.length) stop();
  }, TICK_MS);
}

byId("recording-play").addEventListener("click", () => (timer ? stop() : start()));
byId("recording-place").addEventListener("input", (event) => advance(Number(event.target.value)));

try {
  const answer = await fetch(config.cast);
  if (!answer.ok) throw new Error(String(answer.status));
  events = parse(await answer.text());
  byId("recording-place").max = String(Math.ceil(events.at(-1)?.at || 0));
  start();
} catch {
  terminal.write(config.texts.failed);
}
