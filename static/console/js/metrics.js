// Charts of use: a span out of the store, or the numbers of this moment gathered while the page is open.
import { data, fill } from "./sockets.js";
import { moment as written } from "./times.js";

const config = data("metrics-config");
const texts = config.texts;
const state = document.getElementById("metrics-state");
const span = document.getElementById("metrics-span");
const MOST_POINTS = 720;
const plots = new Map();
const gathered = new Map();

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
function bytes(value) {
  let place = 0;
  while (Math.abs(value) >= 1024 && place < UNITS.length - 1) {
    value /= 1024;
    place += 1;
  }
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0 })} ${UNITS[place]}`;
}
const cores = (value) => value.toLocaleString(undefined, { maximumFractionDigits: value < 1 ? 3 : 2 });
const SHOWN = { bytes, cores: (value) => fill(texts.cores, { n: cores(value) }), count: (value) => Math.round(value).toLocaleString() };
const SHORT = { bytes, cores, count: SHOWN.count };

const POWERS = Array.from({ length: 60 }, (_, power) => 2 ** power);
// 14:05, and the date where it changes or the ticks are days apart.
function clock(_, ticks, __, ___, step) {
  let before = "";
  return ticks.map((tick) => {
    const [date, time] = written(new Date(tick * 1000)).split(" ");
    const shown = step >= 86400 ? date.slice(5) : step < 60 ? time : time.slice(0, 5);
    const also = step < 86400 && date !== before ? `\n${date}` : "";
    before = date;
    return shown + also;
  });
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return { used: colour("--accent"), asked: colour("--good"), limit: colour("--bad"), has: colour("--faint"), ink: colour("--soft"), line: colour("--line") };
}

function series(chart, names) {
  const palette = colours();
  return names.map((name) => ({
    label: texts[name],
    stroke: palette[name],
    width: name === "used" ? 2 : 1.3,
    dash: name === "used" ? undefined : [6, 4],
    fill: name === "used" ? `color-mix(in srgb, ${palette.used} 12%, transparent)` : undefined,
    points: { show: name === "used" ? undefined : false },
    spanGaps: false,
    value: (_, value) => (value === null || value === undefined ? "–" : SHOWN[chart.unit](value)),
  }));
}

function draw(chart, names, columns) {
  const figure = document.querySelector(`.chart[data-key="${chart.key}"]`);
  const place = figure.querySelector(".plot");
  numbers(figure, chart, names, columns);
  const known = plots.get(chart.key);
  if (known && known.names.join() === names.join()) {
    known.plot.setData(columns);
    return;
  }
  known?.plot.destroy();
  place.replaceChildren();
  const palette = colours();
  const axis = { stroke: palette.ink, grid: { stroke: palette.line, width: 1 }, ticks: { stroke: palette.line, width: 1 } };
  const plot = new uPlot(
    {
      width: place.clientWidth || 300,
      height: 220,
      cursor: { points: { size: 6 } },
      // One number alone has no width: at least a minute is shown.
      scales: { x: { range: (_, low, high) => [Math.min(low, high - 60), high] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, values: clock }, { ...axis, incrs: chart.unit === "bytes" ? POWERS : undefined, size: 74, values: (_, ticks) => ticks.map((tick) => SHORT[chart.unit](tick)) }],
      series: [{ label: texts.time, value: (_, value) => (value ? written(new Date(value * 1000)) : "–") }, ...series(chart, names)],
    },
    columns,
    place,
  );
  plots.set(chart.key, { plot, names, chart, columns });
}

// The same in words: for who cannot see the curve, and for who wants the number.
function numbers(figure, chart, names, columns) {
  const used = columns[1].filter((value) => value !== null);
  const list = figure.querySelector(".numbers");
  list.replaceChildren();
  const addNumber = (name, value) => {
    const pair = document.createElement("div");
    const term = document.createElement("dt");
    const told = document.createElement("dd");
    term.textContent = name;
    told.textContent = SHOWN[chart.unit](value);
    pair.append(term, told);
    list.append(pair);
  };
  if (used.length) {
    addNumber(texts.now, used.at(-1));
    if (used.length > 1) {
      addNumber(texts.least, Math.min(...used));
      addNumber(texts.mean, used.reduce((sum, value) => sum + value, 0) / used.length);
      addNumber(texts.most, Math.max(...used));
    }
  }
  names.slice(1).forEach((name, place) => {
    const last = columns[place + 2].at(-1);
    if (last !== null && last !== undefined) addNumber(texts[name], last);
  });
  figure.querySelector(".plot").setAttribute("aria-label", `${figure.querySelector("h2").textContent}: ${list.innerText.replace(/\n/g, " ")}`);
}

async function fetchJson(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.message} ${answer.hint ?? ""}`);
  return answer;
}

function showStatus(words) {
  if (state.textContent !== words) state.textContent = words;
}

async function drawHistory() {
  const answer = await fetchJson(`${config.source}?span=${encodeURIComponent(span.value)}`);
  let any = false;
  for (const chart of config.charts) {
    const points = answer.series[chart.key]?.used ?? [];
    any ||= points.length > 0;
    draw(chart, ["used"], [points.map((point) => point[0]), points.map((point) => point[1])]);
  }
  showStatus(any ? "" : texts.nothing);
}

async function drawCurrent() {
  const answer = await fetchJson(config.source);
  const now = Math.round(Date.now() / 1000);
  let any = false;
  for (const chart of config.charts) {
    const usage = answer.now[chart.key];
    if (!usage || usage.used === null) continue;
    any = true;
    const names = ["used", ...["asked", "limit", "has"].filter((name) => usage[name] !== null && usage[name] !== undefined)];
    const stored = gathered.get(chart.key) ?? [];
    stored.push([now, ...names.map((name) => usage[name])]);
    gathered.set(chart.key, stored.slice(-MOST_POINTS));
    draw(chart, names, names.map((_, place) => place).concat(names.length).map((place) => stored.map((row) => row[place] ?? null)));
  }
  showStatus(any ? "" : texts.nothing);
}

async function refresh() {
  try {
    await (config.live ? drawCurrent() : drawHistory());
  } catch (error) {
    showStatus(error.message || texts.failed);
  }
}

span?.addEventListener("change", () => {
  history.replaceState(null, "", `?span=${encodeURIComponent(span.value)}`);
  refresh();
});
const redraw = () => {
  for (const { plot, names, chart, columns } of [...plots.values()]) {
    const stored = plot.data ?? columns;
    plots.delete(chart.key);
    plot.destroy();
    draw(chart, names, stored);
  }
};
document.addEventListener("themechange", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(() => {
  for (const { plot, chart } of plots.values()) {
    const width = document.querySelector(`.chart[data-key="${chart.key}"] .plot`).clientWidth;
    if (width && Math.abs(width - plot.width) > 2) plot.setSize({ width, height: 220 });
  }
}).observe(document.querySelector(".charts"));
setInterval(() => document.hidden || refresh(), (config.live || 30) * 1000);
refresh();
