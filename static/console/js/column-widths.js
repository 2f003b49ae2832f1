// Widths of a table's columns: dragged, or moved by keys, and kept for the person.
import { post } from "./sockets.js";

const [LEAST, MOST, STEP] = [40, 1200, 16];
// A sheet of its own: rows that come later have the widths too, and no style attribute is needed.
const sheet = new CSSStyleSheet();
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
let widths = {};
// The kind that `widths` belong to.
let kind = null;

const frame = () => document.querySelector("[data-widths]");
const heads = () => [...document.querySelectorAll("[data-widths] thead th")];
const whole = (number) => Math.round(Math.min(Math.max(number, LEAST), MOST));

function layOut() {
  const rules = heads().map((head, index) => {
    const width = widths[head.dataset.column];
    if (!width) return "";
    return `[data-widths] table tr > :nth-child(${index + 1}) { width: ${width}px; min-width: ${width}px; max-width: ${width}px; }`;
  });
  sheet.replaceSync(rules.join("\n"));
  for (const head of heads()) {
    const width = widths[head.dataset.column] ?? head.getBoundingClientRect().width;
    head.querySelector("[role=separator]")?.setAttribute("aria-valuenow", String(whole(width)));
  }
}

function setWidth(column, width) {
  widths = { ...widths };
  if (width) widths[column] = whole(width);
  else delete widths[column];
  layOut();
}

async function keep() {
  try {
    await post("/preferences/widths", { plural: frame().dataset.kind, widths });
  } catch {
    // The widths stay for this page; they are only not kept.
  }
}

function edgeOf(head) {
  const edge = document.createElement("span");
  edge.className = "column-edge";
  edge.tabIndex = 0;
  const facts = { role: "separator", "aria-orientation": "vertical", "aria-valuemin": LEAST, "aria-valuemax": MOST };
  for (const [name, value] of Object.entries(facts)) edge.setAttribute(name, String(value));
  // The column describes its edge: in the label its name would be a second label of that name.
  head.id ||= `column-${head.cellIndex}`;
  edge.setAttribute("aria-label", frame().dataset.widthLabel);
  edge.setAttribute("aria-describedby", head.id);
  return edge;
}

function begin() {
  if (!frame()) return;
  // A refreshed table may have been made before the last change was saved: it changes nothing.
  if (kind !== frame().dataset.kind) {
    kind = frame().dataset.kind;
    widths = JSON.parse(frame().dataset.widths || "{}");
  }
  for (const head of heads()) {
    if (head.dataset.column && !head.querySelector(".column-edge")) head.append(edgeOf(head));
  }
  layOut();
  frame().dataset.widthsReady = "";
}

const columnOf = (edge) => edge.closest("th").dataset.column;
const widthOf = (edge) => widths[columnOf(edge)] ?? edge.closest("th").getBoundingClientRect().width;

document.addEventListener("pointerdown", (event) => {
  const edge = event.target.closest?.(".column-edge");
  if (!edge || event.button) return;
  event.preventDefault();
  edge.focus();
  edge.setPointerCapture(event.pointerId);
  const [start, before] = [event.clientX, widthOf(edge)];
  const move = (step) => setWidth(columnOf(edge), before + step.clientX - start);
  const end = () => {
    edge.removeEventListener("pointermove", move);
    edge.removeEventListener("pointerup", move);
    keep();
  };
  edge.addEventListener("pointermove", move);
  // The last movement may come with the release alone.
  edge.addEventListener("pointerup", move);
  edge.addEventListener("lostpointercapture", end, { once: true });
});

document.addEventListener("keydown", (event) => {
  const edge = event.target.closest?.(".column-edge");
  const steps = { ArrowLeft: -STEP, ArrowRight: STEP };
  if (!edge || !(event.key in steps || event.key === "Home")) return;
  event.preventDefault();
  event.stopPropagation();
  setWidth(columnOf(edge), event.key === "Home" ? 0 : widthOf(edge) + steps[event.key]);
  keep();
});

document.addEventListener("dblclick", (event) => {
  const edge = event.target.closest?.(".column-edge");
  if (!edge) return;
  setWidth(columnOf(edge), 0);
  keep();
});

document.body.addEventListener("htmx:afterSettle", begin);
begin();
