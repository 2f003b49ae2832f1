// Apply: a text of many objects is validated while it is written, compared object by object, and applied to chosen clusters.
import { RequestError, data, fill, post } from "./sockets.js";
import { YamlEditor } from "./yaml-editor.js";

const config = data("editor-config");
const texts = config.texts;
const byId = (id) => document.getElementById(id);
const form = byId("apply-form");
const drop = byId("apply-drop");
// What the API takes of one text.
const MAX_FILE = 3 * 1024 * 1024;
// Comparisons that are open from the start.
const OPEN_AT_FIRST = 5;
const ADDRESS = /^https?:\/\/\S+$/;

let leaving = false;
let applying = false;
// A later question makes the answer to an earlier one worthless.
let asked = 0;

const editor = new YamlEditor({
  parent: byId("editor"),
  problems: byId("editor-problems"),
  text: config.text,
  texts,
  changed: reset,
  check: compare,
  lint: validate,
});

function showStatus(words, severity, id = "editor-state") {
  const status = byId(id);
  status.className = `status ${severity}`;
  status.textContent = words;
  status.hidden = !words;
}

const wordsOf = (error) => (error instanceof RequestError ? `${error.message} ${error.hint}`.trim() : String(error.message || error));

function reset() {
  asked += 1;
  byId("apply-run").disabled = true;
  showDocuments([]);
  hideConfirmation();
  showStatus("", "idle");
  showStatus("", "idle", "apply-state");
}

const source = () => ({ cluster_id: Number(byId("apply-cluster").value), namespace: byId("apply-namespace").value, text: editor.text });

// --- validated while one writes ---------------------------------------------------------------------------------------
// A large text takes the cluster a while: the next question waits for the answer to the one before.
let validating = false;
let missed = false;
async function validate() {
  missed = validating;
  if (validating) return;
  validating = true;
  await tryText();
  validating = false;
  if (missed) editor.lintSoon();
}

async function tryText() {
  const text = editor.text.trim();
  if (!text) return;
  if (ADDRESS.test(text)) return showStatus(texts.address, "warn");
  const attempt = ++asked;
  showStatus(texts.validating, "busy");
  try {
    const { problems } = await post(config.validate, source());
    if (attempt !== asked) return;
    showProblems(problems, { reveal: false });
    if (!problems.length) showStatus(texts.valid, "good");
  } catch (error) {
    if (attempt === asked) showStatus(wordsOf(error), "bad");
  }
}

function showProblems(problems, options) {
  editor.showProblems(problems, options);
  if (problems.length) showStatus(texts.problems, "bad");
}

// --- compared ---------------------------------------------------------------------------------------------------------
async function compare() {
  editor.lintLater();
  const attempt = ++asked;
  hideConfirmation();
  showStatus(texts.comparing, "busy");
  try {
    const { problems } = await post(config.validate, source());
    if (attempt !== asked) return;
    showProblems(problems);
    if (problems.length) return;
    const { documents } = await post(config.diff, source());
    if (attempt !== asked) return;
    showDocuments(documents);
    const count = documents.length;
    const refused = documents.filter((row) => row.severity === "bad").length;
    const same = documents.every((row) => !row.lines.length);
    if (refused) showStatus(fill(texts.refused, { count: refused }), "bad");
    else showStatus(fill(same ? texts.nothing : texts.compared, { count }), "good");
    // An object whose fields another manager owns is refused here and may still be taken by force.
    byId("apply-run").disabled = applying;
    byId("apply-result").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (attempt === asked) showStatus(wordsOf(error), "bad");
  }
}

function make(tag, style, text) {
  const element = document.createElement(tag);
  if (style) element.className = style;
  if (text !== undefined) element.textContent = text;
  return element;
}

function showDocuments(documents, title = texts.changes) {
  byId("apply-result-title").textContent = title;
  byId("apply-result").hidden = !documents.length;
  byId("apply-documents").replaceChildren(...documents.map(documentItem));
}

function documentItem(row, place) {
  const item = make("li");
  const head = make("div", "row-head");
  const push = make("span", "push");
  push.append(make("span", `status ${row.severity}`, row.word));
  const title = make(row.address ? "a" : "span", "", row.title);
  if (row.address) title.href = row.address;
  head.append(title, push);
  item.append(head);
  if (row.message) item.append(make("p", row.severity === "bad" ? "said bad" : "said", row.message));
  if (row.lines.length) item.append(comparison(row, place < OPEN_AT_FIRST));
  return item;
}

function comparison(row, open) {
  const details = make("details", "more");
  details.append(make("summary", "", texts.before + " → " + texts.after));
  // Lines are made when they are looked at: a text may have hundreds of objects.
  details.addEventListener("toggle", () => {
    if (details.querySelector("pre")) return;
    const pre = make("pre", "diff");
    pre.tabIndex = 0;
    pre.setAttribute("aria-label", row.title);
    for (const [line, style] of row.lines) pre.append(make("span", style, `${line}\n`));
    if (row.more) pre.append(make("span", "place", fill(texts.more_lines, { count: row.more })));
    details.append(pre);
  });
  details.open = open;
  return details;
}

// --- applied ----------------------------------------------------------------------------------------------------------
function targets() {
  return [...form.querySelectorAll(".apply-target")]
    .filter((row) => row.querySelector('input[name="target"]').checked)
    .map((row) => ({ cluster_id: Number(row.querySelector('input[name="target"]').value), namespaces: row.querySelector('input[name="namespaces"]').value }));
}

function hideConfirmation() {
  byId("apply-confirm").hidden = true;
  form.elements.typed.value = "";
}

function showConfirmation({ selector, objects, more }) {
  byId("apply-confirm-count").textContent = fill(texts.prune, { count: objects.length });
  byId("apply-confirm-objects").replaceChildren(...objects.map((name) => make("li", "", name)));
  byId("apply-confirm-more").hidden = !more;
  byId("apply-confirm-more").textContent = fill(texts.prune_more, { count: more });
  byId("apply-confirm-ask").textContent = fill(texts.prune_type, { selector });
  byId("apply-confirm").hidden = false;
  showStatus("", "idle", "apply-state");
  form.elements.typed.focus();
}

async function apply() {
  const attempt = ++asked;
  const values = form.elements;
  const options = Object.fromEntries(["dry_run", "force_conflicts", "go_on", "wait"].map((name) => [name, values[name].checked]));
  applying = true;
  byId("apply-run").disabled = true;
  showStatus(texts.applying, "busy", "apply-state");
  try {
    const answer = await post(config.run, { ...source(), targets: targets(), ...options, prune_selector: values.prune_selector.value, typed: values.typed.value });
    if (answer.address) {
      leaving = true;
      return location.assign(answer.address);
    }
    if (answer.confirm) return attempt === asked ? showConfirmation(answer.confirm) : undefined;
    // What was written is told even if the text was changed meanwhile.
    hideConfirmation();
    showDocuments(answer.documents, options.dry_run ? texts.tried : texts.results);
    showStatus("", "idle");
    byId("apply-result").scrollIntoView({ block: "nearest" });
    const failed = answer.documents.some((row) => row.severity === "bad");
    const words = options.dry_run ? texts.tried : texts.applied;
    showStatus(failed ? texts.not_applied : words, failed ? "bad" : "good", "apply-state");
    leaving = !failed && !options.dry_run;
  } catch (error) {
    showStatus(wordsOf(error), "bad", "apply-state");
  } finally {
    applying = false;
    if (attempt === asked) byId("apply-run").disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  apply();
});
// Another selector, or other targets, are another question.
form.addEventListener("input", (event) => event.target.name !== "typed" && hideConfirmation());
byId("apply-compare").addEventListener("click", compare);
byId("apply-all")?.addEventListener("click", () => {
  for (const box of form.querySelectorAll('input[name="target"]')) box.checked = true;
});

// The only target follows the cluster that the text is checked against.
let before = byId("apply-cluster").value;
byId("apply-cluster").addEventListener("change", (event) => {
  const chosen = [...form.querySelectorAll('input[name="target"]:checked')];
  if (chosen.length === 1 && chosen[0].value === before) {
    chosen[0].checked = false;
    form.querySelector(`input[name="target"][value="${event.target.value}"]`).checked = true;
  }
  before = event.target.value;
});
for (const id of ["apply-cluster", "apply-namespace"]) {
  byId(id).addEventListener("change", () => {
    editor.clearProblems();
    reset();
    editor.lintSoon();
  });
}

// --- files ------------------------------------------------------------------------------------------------------------
async function addFiles(files) {
  const pieces = editor.text.trim() ? [editor.text.trimEnd()] : [];
  for (const file of files) {
    if (file.size > MAX_FILE) return showStatus(fill(texts.too_large, { name: file.name }), "bad");
    const text = (await file.text()).replace(/^\ufeff/, "").trimEnd();
    // A file begins a document of its own, whether it says so or not.
    pieces.push(pieces.length && !/^---(\s|$)/.test(text) ? `---\n${text}` : text);
  }
  editor.text = `${pieces.join("\n")}\n`;
}

byId("apply-files").addEventListener("change", async (event) => {
  await addFiles(event.target.files);
  event.target.value = "";
});
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
// Before CodeMirror, which would insert what is dropped where the pointer is.
drop.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  drop.classList.add("over");
}, true);
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  drop.classList.remove("over");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  event.stopPropagation();
  addFiles(event.dataTransfer.files);
}, true);

addEventListener("beforeunload", (event) => {
  if (!leaving && editor.text.trim()) event.preventDefault();
});
