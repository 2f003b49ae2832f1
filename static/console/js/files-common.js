// What the list of files, its dialogs and its transfers share: texts, names made harmless, sizes, questions.
import { RequestError, data, fill } from "./sockets.js";

export const config = data("files-config");
export const texts = config.texts;
export const byId = (id) => document.getElementById(id);
export const say = (name, values) => fill(texts[name], values);

// An element with text or nodes inside; whatever comes out of a container is only ever text.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// Controls, line breaks, marks that turn the direction of text, and what has no width at all.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const codeOf = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

// A name as nodes: characters that cannot be seen, or that change how others are shown, as their codes.
export function nameNodes(name) {
  if (!UNSEEN.test(name)) return [document.createTextNode(name)];
  const nodes = [];
  let plain = "";
  for (const character of name) {
    if (!UNSEEN.test(character)) {
      plain += character;
      continue;
    }
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
    nodes.push(make("span", { class: "sign-code" }, codeOf(character)));
  }
  if (plain) nodes.push(document.createTextNode(plain));
  return nodes;
}

// The same for places that hold text alone: titles, labels.
export function nameText(name) {
  return UNSEEN.test(name) ? [...name].map((character) => (UNSEEN.test(character) ? `<${codeOf(character)}>` : character)).join("") : name;
}

// A text of ours with a name in it, as nodes.
export function fillNodes(name, values) {
  return texts[name].split(/(\{\w+\})/).flatMap((part) => {
    const key = /^\{(\w+)\}$/.exec(part)?.[1];
    return key ? nameNodes(String(values[key] ?? "")) : [part];
  });
}

export function sizeText(bytes) {
  if (!Number.isFinite(bytes)) return "";
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function errorText(error) {
  // What is there already needs no advice about newer versions.
  if (reasonOf(error) === "Conflict") return error.message;
  if (error instanceof RequestError) return `${error.message}${/[.!?。]$/.test(error.message) ? "" : "."} ${error.hint}`.trim();
  return texts.failed;
}

export const reasonOf = (error) => (error instanceof RequestError && error.details.reason) || "";

export function joinPath(directory, name) {
  return directory === "/" ? `/${name}` : `${directory}/${name}`;
}

export function parentOf(path) {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

// A question in a dialog. Answers the text of its field, or the name of the button; null when it was left.
export function ask({ title, body = [], field = null, actions }) {
  const dialog = byId("files-ask");
  const heading = make("h2", { id: "files-ask-title" }, ...title);
  const input = field && make("input", { type: "text", value: field.value, autocomplete: "off", spellcheck: false, required: true, maxLength: 4096 });
  const buttons = actions.map(({ name, label, style = "" }) => make("button", { type: "submit", value: name, class: style }, label));
  const form = make("form", { method: "dialog", class: "stack" }, heading, ...body);
  if (input) form.append(make("label", {}, field.label, input));
  const leave = make("button", { type: "button" }, texts.cancel);
  leave.addEventListener("click", () => dialog.close(""));
  form.append(make("div", { class: "acts" }, leave, ...buttons));
  dialog.replaceChildren(form);
  dialog.returnValue = "";
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const chosen = dialog.returnValue;
        dialog.replaceChildren();
        if (!chosen) resolve(null);
        else resolve(input ? input.value : chosen);
      },
      { once: true },
    );
    dialog.showModal();
    if (!input) return leave.focus();
    input.focus();
    // The name without its ending, which mostly stays.
    const ending = field.value.lastIndexOf(".");
    input.setSelectionRange(0, ending > 0 ? ending : field.value.length);
  });
}

// A list of names for a question, cut where it becomes too long to read.
export function nameList(names, most = 12) {
  const items = names.slice(0, most).map((name) => make("li", {}, ...nameNodes(name)));
  if (names.length > most) items.push(make("li", {}, `+${names.length - most}`));
  return make("ul", {}, ...items);
}
