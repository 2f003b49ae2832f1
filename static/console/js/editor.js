// The YAML editor: CodeMirror, problems at their lines, the difference before anything is written, conflicts brought together.
import { RequestError, data, fill, post } from "./sockets.js";

const config = data("editor-config");
const texts = config.texts;
const byId = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 760px)");
const nonce = byId("editor").dataset.nonce;

let base = config.text;
let version = config.live ?? "";
let comparison = null;
let applied = false;

function dark() {
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}

const look = new CM.Compartment();
const looks = () => (dark() ? [CM.oneDark] : []);
const common = () => [
  CM.yaml(),
  CM.EditorView.cspNonce.of(nonce),
  CM.EditorView.lineWrapping,
  CM.EditorState.phrases.of({ "$ unchanged lines": texts.collapsed }),
];

const view = new CM.EditorView({
  doc: config.text,
  parent: byId("editor"),
  extensions: [
    CM.basicSetup,
    CM.keymap.of([CM.indentWithTab, { key: "Mod-Enter", run: () => (check(), true) }]),
    CM.indentUnit.of("  "),
    CM.lintGutter(),
    look.of(looks()),
    CM.EditorView.contentAttributes.of({ "aria-label": texts.editor, spellcheck: "false", tabindex: "0" }),
    CM.EditorView.updateListener.of((update) => update.docChanged && resetCheck()),
    ...common(),
  ],
});
const restyle = () => view.dispatch({ effects: look.reconfigure(looks()) });
document.addEventListener("themechange", restyle);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);

const text = () => view.state.doc.toString();

function replaceDocument(replacement) {
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: replacement } });
}

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
  byId("editor-problems").replaceChildren();
  view.dispatch(CM.setDiagnostics(view.state, []));
  showStatus("", "idle");
  clearTimeout(lintTimer);
  lintTimer = setTimeout(lint, 700);
}

// While one writes: what the cluster's own description of the kind says; nothing is tried there.
let lintTimer = 0;
async function lint() {
  const sent = text();
  try {
    const answer = await post(config.lint, { text: sent });
    if (sent === text() && !pending.open && answer.problems.length) showProblems(answer.problems);
  } catch {
    // The button says what is wrong with the connection.
  }
}

function diagnostic(problem) {
  const line = view.state.doc.line(Math.min(Math.max(problem.line, 1), view.state.doc.lines));
  const from = Math.min(line.from + problem.column, line.to);
  const to = Math.min(Math.max(line.from + problem.end, from + 1), Math.max(line.to, from));
  return { from, to, severity: "error", message: problem.message };
}

function showProblems(rows, createdNames = []) {
  showStatus(texts.problems, "bad");
  const marked = rows.filter((problem) => problem.line).map(diagnostic);
  view.dispatch(CM.setDiagnostics(view.state, marked));
  const list = byId("editor-problems");
  list.replaceChildren();
  for (const problem of rows) {
    const item = document.createElement("li");
    if (problem.line) {
      const go = document.createElement("button");
      go.type = "button";
      go.className = "quiet";
      go.textContent = fill(texts.one_problem, problem);
      go.addEventListener("click", () => {
        const { from } = diagnostic(problem);
        view.dispatch({ selection: { anchor: from }, effects: CM.EditorView.scrollIntoView(from, { y: "center" }) });
        view.focus();
      });
      item.append(go);
    } else {
      item.textContent = problem.message;
    }
    list.append(item);
  }
  if (createdNames.length) {
    const item = document.createElement("li");
    item.textContent = fill(texts.partly, { names: createdNames.join(", ") });
    list.append(item);
  }
  const first = rows.find((problem) => problem.line);
  if (first) view.dispatch({ effects: CM.EditorView.scrollIntoView(diagnostic(first).from, { y: "center" }) });
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
  clearTimeout(lintTimer);
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
  if (answer.problems) return showProblems(answer.problems, answer.made);
  view.dispatch(CM.setDiagnostics(view.state, []));
  byId("editor-problems").replaceChildren();
  const same = answer.before === answer.after;
  showStatus(same ? texts.unchanged : texts.fine, "good");
  showComparison(same ? null : answer);
  byId("editor-apply").disabled = same;
  byId("editor-compare").scrollIntoView({ block: "nearest" });
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
  replaceDocument(replacement);
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
byId("editor-blueprint")?.addEventListener("change", (event) => config.blueprints[event.target.value] && replaceDocument(config.blueprints[event.target.value]));
byId("editor-file")?.addEventListener("change", async (event) => event.target.files[0] && replaceDocument(await event.target.files[0].text()));
addEventListener("beforeunload", (event) => {
  if (!applied && text() !== base && text() !== config.text) event.preventDefault();
});
// For tests and people with other tools: the editor behind the page.
byId("editor").view = view;
