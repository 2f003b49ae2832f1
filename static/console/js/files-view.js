// One file: shown as text or as a picture, changed in an editor that notices changes by others.
import { ask, byId, config, errorText, fillNodes, make, nameText, reasonOf, say, sizeText, texts } from "./files-common.js";
import { download } from "./files-transfers.js";
import { RequestError, get, post } from "./sockets.js";

const MIB = 1024 * 1024;
// Text that is shown and changed; pictures may be larger. The API's own limit is 8 MiB.
const MAX_TEXT = MIB;
const MAX_IMAGE = 8 * MIB;
const FIRST_BYTES = 1024;
const dialog = byId("files-view");
const nonce = dialog.dataset.nonce;
const nothing = () => {};

let saved = nothing;
// The file that is open: {entry, path, sha256, text}; `editor` and `comparison` are CodeMirror's.
let file = null;
let editor = null;
let comparison = null;
let imageUrl = "";

export function onSaved(listener) {
  saved = listener;
}

// --- what is seen -----------------------------------------------------------------------------------------------------
const BUTTONS = ["end", "start", "download", "edit", "reload", "overwrite", "back", "save"];
function offer(...names) {
  for (const name of BUTTONS) byId(`files-view-${name}`).hidden = !names.includes(name);
}

function showState(words, severity = "idle") {
  const state = byId("files-view-state");
  state.className = `status ${severity}`;
  state.textContent = words;
  state.hidden = !words;
}

function showNotice(words) {
  const notice = byId("files-view-notice");
  notice.textContent = words;
  notice.hidden = !words;
}

function clear() {
  editor?.destroy();
  comparison?.destroy();
  editor = comparison = null;
  if (imageUrl) URL.revokeObjectURL(imageUrl);
  imageUrl = "";
  byId("files-view-body").replaceChildren();
  showNotice("");
  showState("");
}

function openDialog(entry, path) {
  clear();
  file = { entry, path, sha256: "", text: "" };
  byId("files-view-title").replaceChildren(...fillNodes("contents", { name: path }));
  byId("files-view-facts").textContent = "";
  offer();
  if (!dialog.open) dialog.showModal();
}

const isPicture = (name) => /\.(png|jpe?g|gif|webp)$/i.test(name);

async function read(path, options = {}) {
  return get(`${config.base}/content`, { container: config.container, path, ...options });
}

export async function openFile(entry, path, tail = false) {
  openDialog(entry, path);
  showState(texts.loading, "busy");
  const own = file;
  let answer;
  try {
    const limit = isPicture(entry.name) && (entry.size ?? 0) <= MAX_IMAGE ? MAX_IMAGE : MAX_TEXT;
    answer = await read(path, { max_bytes: limit, tail: tail || undefined });
    if (answer.encoding === "utf-8") await loadEditor();
  } catch (error) {
    if (own === file) showState(errorText(error), "bad");
    return;
  }
  if (own !== file) return;
  showState("");
  byId("files-view-facts").textContent = say("size_of", { size: sizeText(answer.size), mode: answer.mode ?? "" });
  showContent(answer, tail);
}

function showContent(answer, tail) {
  const body = byId("files-view-body");
  const buttons = ["download"];
  const bytes = answer.encoding === "base64" ? decode(answer.content) : null;
  const type = bytes && pictureType(bytes);
  if (answer.size === 0) showState(texts.empty_file);
  if (type && answer.truncated) showNotice(say("image_cut", { size: sizeText(MAX_IMAGE) }));
  else if (type) {
    imageUrl = URL.createObjectURL(new Blob([bytes], { type }));
    body.append(make("img", { src: imageUrl, alt: nameText(file.entry.name) }));
  } else if (bytes) {
    byId("files-view-facts").textContent += ` · ${texts.binary}`;
    body.append(make("pre", { tabIndex: 0 }, hexadecimal(bytes.subarray(0, FIRST_BYTES))));
  } else {
    editor = makeEditor(answer.content, false);
    if (answer.truncated) {
      const shown = sizeText(new TextEncoder().encode(answer.content).length);
      showState(say(tail ? "preview_end" : "preview_cut", { shown, size: sizeText(answer.size) }));
      buttons.push(tail ? "start" : "end");
    }
  }
  const editable = !bytes && !answer.truncated;
  const button = byId("files-view-edit");
  const tooLarge = say("too_large", { size: sizeText(MAX_TEXT) });
  button.title = config.may_write ? (editable ? "" : bytes ? texts.not_text : tooLarge) : texts.no_write;
  button.disabled = Boolean(button.title);
  offer(...buttons, "edit");
  byId("files-view-close").focus();
}

function decode(content) {
  return Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
}

// Only what a browser shows without running anything; by the first bytes, as a name says nothing.
function pictureType(bytes) {
  const start = String.fromCharCode(...bytes.subarray(0, 12));
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (start.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (/^GIF8[79]a/.test(start)) return "image/gif";
  return /^RIFF[^]{4}WEBP/.test(start) ? "image/webp" : "";
}

function hexadecimal(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const part = [...bytes.subarray(start, start + 16)];
    const codes = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = part.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${start.toString(16).padStart(6, "0")}  ${codes.padEnd(47)}  ${letters}`);
  }
  return lines.join("\n");
}

// --- the editor -------------------------------------------------------------------------------------------------------
// CodeMirror is large: it comes with the first text.
let loading = null;
function loadEditor() {
  loading ??= new Promise((resolve, reject) => {
    const script = make("script", { src: config.codemirror });
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => {
      loading = null;
      reject(new Error("script"));
    });
    document.head.append(script);
  });
  return loading;
}

const dark = () => getComputedStyle(document.documentElement).colorScheme === "dark";

// Only where every line ends so; else carriage returns are characters like others, and stay what they are.
const separatorOf = (text) => (/\r\n/.test(text) && !/\r(?!\n)|(?<!\r)\n/.test(text) ? "\r\n" : "\n");

function extensions(text, writable) {
  const label = say("contents", { name: nameText(file.path) });
  return [
    CM.basicSetup,
    CM.EditorView.cspNonce.of(nonce),
    CM.EditorView.lineWrapping,
    CM.EditorState.lineSeparator.of(separatorOf(text)),
    CM.EditorState.readOnly.of(!writable),
    CM.EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", tabindex: "0" }),
    ...(/\.ya?ml$/i.test(file.entry.name) ? [CM.yaml()] : []),
    ...(dark() ? [CM.oneDark] : []),
  ];
}

function makeEditor(text, writable) {
  const keys = CM.keymap.of([{ key: "Mod-s", preventDefault: true, run: () => (writable && save(), true) }]);
  return new CM.EditorView({ doc: text, parent: byId("files-view-body"), extensions: [keys, ...extensions(text, writable)] });
}

const currentText = () => editor.state.sliceDoc();
const isChanged = () => Boolean(editor && !editor.state.readOnly && currentText() !== file.text);

export async function editFile(entry, path) {
  openDialog(entry, path);
  showState(texts.loading, "busy");
  const own = file;
  try {
    const answer = await read(path, { max_bytes: MAX_TEXT });
    await loadEditor();
    if (own !== file) return;
    if (answer.truncated || answer.encoding !== "utf-8") {
      showContent(answer, false);
      showNotice(answer.truncated ? say("too_large", { size: sizeText(MAX_TEXT) }) : texts.not_text);
      return;
    }
    startEditing(answer.content, answer.sha256);
  } catch (error) {
    if (own === file) showState(errorText(error), "bad");
  }
}

// A file that is not there yet: written only as long as that is so.
export async function createFile(name, path) {
  openDialog({ name, type: "file", size: 0 }, path);
  try {
    await loadEditor();
    startEditing("", "");
  } catch (error) {
    showState(errorText(error), "bad");
  }
}

// `edited` is what is to be in the editor when it is not what is in the container.
function startEditing(text, sha256, edited = text) {
  clear();
  file.text = text;
  file.sha256 = sha256;
  editor = makeEditor(edited, true);
  offer("save");
  editor.focus();
}

async function write(content, sha256) {
  const answer = await post(`${config.base}/save`, { container: config.container, path: file.path, content, encoding: "utf-8", sha256 });
  saved(file.path);
  return answer;
}

async function save() {
  const own = file;
  const content = currentText();
  showState(texts.saving, "busy");
  byId("files-view-save").disabled = true;
  try {
    const answer = await write(content, file.sha256);
    file.text = content;
    file.sha256 = answer.sha256;
    showState(texts.saved, "good");
  } catch (error) {
    if (reasonOf(error) === "Conflict") await showConflict(content);
    else showState(errorText(error), "bad");
  } finally {
    if (own === file) byId("files-view-save").disabled = false;
  }
}

// --- the file was changed meanwhile -----------------------------------------------------------------------------------
let conflict = null;
async function showConflict(mine) {
  let theirs = { content: "", sha256: "" };
  let gone = false;
  try {
    theirs = await read(file.path, { max_bytes: MAX_TEXT });
  } catch (error) {
    gone = error instanceof RequestError && error.code === 1004;
    if (!gone) return showState(errorText(error), "bad");
  }
  conflict = { mine, theirs: theirs.encoding === "base64" ? "" : theirs.content, sha256: theirs.sha256, base: file };
  clear();
  showNotice(gone ? texts.conflict_gone : texts.conflict);
  const titles = make("div", { class: "side-titles" }, make("span", {}, texts.theirs), make("span", {}, texts.yours));
  byId("files-view-body").append(titles);
  comparison = new CM.MergeView({
    parent: byId("files-view-body"),
    a: { doc: conflict.theirs, extensions: extensions(conflict.theirs, false) },
    b: { doc: mine, extensions: extensions(mine, false) },
    collapseUnchanged: { margin: 3, minSize: 6 },
  });
  // What is more than an editor takes, or no text, can only be overwritten.
  const readable = !gone && !theirs.truncated && theirs.encoding !== "base64";
  offer(...(readable ? ["reload"] : []), "back", "overwrite");
  byId("files-view-back").focus();
}

byId("files-view-reload").addEventListener("click", () => startEditing(conflict.theirs, conflict.sha256));
byId("files-view-back").addEventListener("click", () => {
  const { base, mine } = conflict;
  startEditing(base.text, base.sha256, mine);
});
byId("files-view-overwrite").addEventListener("click", () => {
  // Still a precondition: what was just shown is what is overwritten, and nothing newer.
  startEditing(conflict.theirs, conflict.sha256, conflict.mine);
  save();
});

// --- buttons and leaving ----------------------------------------------------------------------------------------------
byId("files-view-save").addEventListener("click", save);
byId("files-view-edit").addEventListener("click", () => editFile(file.entry, file.path));
byId("files-view-download").addEventListener("click", () => download(file.entry, file.path));
byId("files-view-end").addEventListener("click", () => openFile(file.entry, file.path, true));
byId("files-view-start").addEventListener("click", () => openFile(file.entry, file.path));

async function leave() {
  if (isChanged() || comparison) {
    const sure = await ask({ title: [texts.discard_title], body: [make("p", {}, texts.unsaved)], actions: [{ name: "discard", label: texts.discard, style: "danger primary" }] });
    if (!sure) return;
  }
  dialog.close();
}
byId("files-view-close").addEventListener("click", leave);
dialog.addEventListener("cancel", (event) => {
  event.preventDefault();
  leave();
});
dialog.addEventListener("close", () => {
  clear();
  file = null;
  byId("files").focus({ preventScroll: true });
});
addEventListener("beforeunload", (event) => {
  if (isChanged() || comparison) event.preventDefault();
});
