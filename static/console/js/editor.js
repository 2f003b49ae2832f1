// The YAML editor: CodeMirror, problems at their lines, the difference before anything is written, conflicts brought together.
import { RequestError, data, fill, post } from "./sockets.js";
import { ManifestForm } from "./manifest-form.js";
import { YamlEditor } from "./yaml-editor.js";

const config = data("editor-config");
const texts = config.texts;
const byId = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 760px)");

let base = config.text;
let version = config.live ?? "";
let comparison = null;
let applied = false;

const editor = new YamlEditor({
  parent: byId("editor"),
  problems: byId("editor-problems"),
  text: config.text,
  texts,
  changed: resetCheck,
  check,
  lint,
});
const { view } = editor;
const looks = () => editor.looks();
const common = () => editor.common();
const text = () => editor.text;

const form = byId("manifest-form") && new ManifestForm({
  element: byId("manifest-form"),
  config,
  read: text,
  write: (replacement) => { editor.text = replacement; },
  problems: (rows) => showProblems(rows),
  say: showStatus,
  changed: resetCheck,
});

// --- what is said ---------------------------------------------------------------------------------------------------
function showStatus(words, severity) {
  const status = byId("editor-state");
  status.className = `status ${severity}`;
  status.textContent = words;
  status.hidden = !words;
}

function resetCheck() {
  applied = false;
  byId("editor-apply").disabled = true;
  showComparison(null);
  showStatus("", "idle");
}

// While one writes: what the cluster's own description of the kind says; nothing is tried there.
async function lint(sent) {
  if (form?.open) return;
  try {
    const answer = await post(config.lint, { text: sent });
    if (sent === text() && !pending.open && answer.problems.length) showProblems(answer.problems);
  } catch {
    // The button says what is wrong with the connection.
  }
}

function showProblems(rows, createdNames = []) {
  showStatus(texts.problems, "bad");
  const made = { line: 0, message: fill(texts.partly, { names: createdNames.join(", ") }) };
  editor.showProblems(createdNames.length ? [...rows, made] : rows);
}

// --- the comparison -------------------------------------------------------------------------------------------------
function showComparison(pair, titles = [texts.before, texts.after]) {
  comparison?.destroy();
  comparison = null;
  const container = byId("editor-diff");
  container.replaceChildren();
  byId("editor-compare").hidden = !pair;
  if (!pair) return;
  const fixed = (label) => [CM.EditorState.readOnly.of(true), CM.EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }), ...looks(), ...common()];
  const options = { highlightChanges: true, collapseUnchanged: { margin: 3, minSize: 6 } };
  byId("editor-diff-titles").textContent = (pair.before ? titles : titles.slice(1)).join(" → ");
  if (!pair.before) {
    comparison = new CM.EditorView({ doc: pair.after, parent: container, extensions: fixed(titles[1]) });
  } else if (narrow.matches) {
    comparison = new CM.EditorView({
      doc: pair.after,
      parent: container,
      extensions: [...fixed(titles[1]), CM.unifiedMergeView({ original: pair.before, mergeControls: false, ...options })],
    });
  } else {
    comparison = new CM.MergeView({
      a: { doc: pair.before, extensions: fixed(titles[0]) },
      b: { doc: pair.after, extensions: fixed(titles[1]) },
      parent: container,
      gutter: true,
      ...options,
    });
  }
  // What scrolls must be reached by the keyboard.
  for (const scroller of container.querySelectorAll(".cm-scroller")) scroller.tabIndex = 0;
}

// --- asking the cluster -----------------------------------------------------------------------------------------------
const pending = { count: 0, open: false };
async function requestCheck(address) {
  if (form?.open && !(await saveForm())) return null;
  editor.lintLater();
  pending.open = true;
  const attempt = ++pending.count;
  const sent = text();
  for (const button of document.querySelectorAll("#editor-check, #editor-apply")) button.disabled = true;
  try {
    const answer = await post(address, { text: sent, base, version });
    return attempt === pending.count && sent === text() ? answer : null;
  } catch (error) {
    const words = error instanceof RequestError ? `${error.message} ${error.hint}`.trim() : String(error.message || error);
    if (attempt === pending.count) showStatus(words, "bad");
    return null;
  } finally {
    if (attempt === pending.count) pending.open = false;
    byId("editor-check").disabled = false;
  }
}

async function saveForm() {
  try {
    return await form.save();
  } catch (error) {
    showStatus(`${error.message} ${error.hint || ""}`.trim(), "bad");
    return false;
  }
}

async function check() {
  showStatus(texts.checking, "busy");
  showAnswer(await requestCheck(config.check));
}

async function apply() {
  showStatus(texts.applying, "busy");
  const answer = await requestCheck(config.apply);
  if (answer?.address) {
    applied = true;
    location.assign(answer.address);
  } else {
    showAnswer(answer);
  }
}

function showAnswer(answer) {
  if (!answer) return;
  byId("editor-conflict").hidden = true;
  if (answer.conflict) return showConflict(answer.conflict);
  if (answer.problems) return showRefusal(answer);
  editor.clearProblems();
  const same = answer.before === answer.after;
  showStatus(same ? texts.unchanged : texts.fine, "good");
  showComparison(same ? null : answer);
  byId("editor-apply").disabled = same;
  byId("editor-compare").scrollIntoView({ block: "nearest" });
}

function showRefusal(answer) {
  showProblems(answer.problems, answer.made);
  if (form?.open) form.markRefusal(answer.problems);
}

let conflict = null;
function showConflict(answer) {
  conflict = answer;
  showStatus(texts.conflict, "warn");
  byId("editor-conflict").hidden = false;
  byId("editor-clashes").textContent = answer.clashes.length ? fill(texts.clash, { paths: answer.clashes.join(", ") }) : "";
  showComparison({ before: answer.before, after: answer.after }, [byId("editor-conflict").dataset.before, byId("editor-conflict").dataset.after]);
}

function replaceText(words, replacement) {
  const { theirs, version: newest, clashes } = conflict;
  editor.text = replacement;
  base = theirs;
  version = newest;
  byId("editor-conflict").hidden = true;
  showStatus(clashes.length && replacement === conflict.merged ? fill(texts.clash, { paths: clashes.join(", ") }) : words, "idle");
  view.focus();
}

byId("editor-check").addEventListener("click", check);
byId("editor-apply").addEventListener("click", apply);
byId("editor-merge")?.addEventListener("click", () => replaceText(texts.merged, conflict.merged));
byId("editor-newest")?.addEventListener("click", () => replaceText(texts.newest, conflict.theirs));
// A text that comes from elsewhere: the form shows it, or gives way to the YAML when it cannot.
async function replaceWhole(replacement) {
  editor.text = replacement;
  if (form?.open && !(await openView("form"))) showYaml();
}

async function openView(view) {
  try {
    return await form.show(view);
  } catch (error) {
    showStatus(`${error.message} ${error.hint || ""}`.trim(), "bad");
    return false;
  }
}

function showYaml() {
  byId("manifest-form").replaceChildren();
  byId("manifest-form").hidden = true;
  form.frame.hidden = false;
  for (const button of form.buttons) button.setAttribute("aria-pressed", String(button.dataset.view === "yaml"));
}

byId("editor-blueprint")?.addEventListener("change", (event) => { if (config.blueprints[event.target.value]) replaceWhole(config.blueprints[event.target.value]); });
byId("editor-file")?.addEventListener("change", async (event) => { if (event.target.files[0]) replaceWhole(await event.target.files[0].text()); });
if (config.view === "form") openView("form");
addEventListener("beforeunload", (event) => {
  if (!applied && (form?.dirty || (text() !== base && text() !== config.text))) event.preventDefault();
});
