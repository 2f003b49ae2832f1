// The YAML editor: CodeMirror, problems at their lines, the difference before anything is written, conflicts brought together.
import { Refused, data, fill, post } from "./sockets.js";

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
    CM.EditorView.updateListener.of((update) => update.docChanged && edited()),
    ...common(),
  ],
});
const restyle = () => view.dispatch({ effects: look.reconfigure(looks()) });
document.addEventListener("themechange", restyle);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);

const text = () => view.state.doc.toString();

function write(replacement) {
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: replacement } });
}

// --- what is said ---------------------------------------------------------------------------------------------------
function tell(words, tone) {
  const status = byId("editor-state");
  status.className = `status ${tone}`;
  status.textContent = words;
  status.hidden = !words;
}

function edited() {
  applied = false;
  byId("editor-apply").disabled = true;
  compare(null);
  byId("editor-problems").replaceChildren();
  view.dispatch(CM.setDiagnostics(view.state, []));
  tell("", "idle");
  clearTimeout(resting);
  resting = setTimeout(lint, 700);
}

// While one writes: what the cluster's own description of the kind says; nothing is tried there.
let resting = 0;
async function lint() {
  const sent = text();
  try {
    const answer = await post(config.lint, { text: sent });
    if (sent === text() && !asking.open && answer.problems.length) problems(answer.problems);
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

function problems(found, made = []) {
  tell(texts.problems, "bad");
  const marked = found.filter((one) => one.line).map(diagnostic);
  view.dispatch(CM.setDiagnostics(view.state, marked));
  const list = byId("editor-problems");
  list.replaceChildren();
  for (const one of found) {
    const item = document.createElement("li");
    if (one.line) {
      const go = document.createElement("button");
      go.type = "button";
      go.className = "quiet";
      go.textContent = fill(texts.one_problem, one);
      go.addEventListener("click", () => {
        const { from } = diagnostic(one);
        view.dispatch({ selection: { anchor: from }, effects: CM.EditorView.scrollIntoView(from, { y: "center" }) });
        view.focus();
      });
      item.append(go);
    } else {
      item.textContent = one.message;
    }
    list.append(item);
  }
  if (made.length) {
    const item = document.createElement("li");
    item.textContent = fill(texts.partly, { names: made.join(", ") });
    list.append(item);
  }
  const first = found.find((one) => one.line);
  if (first) view.dispatch({ effects: CM.EditorView.scrollIntoView(diagnostic(first).from, { y: "center" }) });
}

// --- the comparison -------------------------------------------------------------------------------------------------
function compare(pair, titles = [texts.before, texts.after]) {
  comparison?.destroy();
  comparison = null;
  const place = byId("editor-diff");
  place.replaceChildren();
  byId("editor-compare").hidden = !pair;
  if (!pair) return;
  const fixed = (label) => [CM.EditorState.readOnly.of(true), CM.EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }), ...looks(), ...common()];
  const options = { highlightChanges: true, collapseUnchanged: { margin: 3, minSize: 6 } };
  byId("editor-diff-titles").textContent = (pair.before ? titles : titles.slice(1)).join(" → ");
  if (!pair.before) {
    comparison = new CM.EditorView({ doc: pair.after, parent: place, extensions: fixed(titles[1]) });
  } else if (narrow.matches) {
    comparison = new CM.EditorView({
      doc: pair.after,
      parent: place,
      extensions: [...fixed(titles[1]), CM.unifiedMergeView({ original: pair.before, mergeControls: false, ...options })],
    });
  } else {
    comparison = new CM.MergeView({
      a: { doc: pair.before, extensions: fixed(titles[0]) },
      b: { doc: pair.after, extensions: fixed(titles[1]) },
      parent: place,
      gutter: true,
      ...options,
    });
  }
  // What scrolls must be reached by the keyboard.
  for (const scroller of place.querySelectorAll(".cm-scroller")) scroller.tabIndex = 0;
}

// --- asking the cluster -----------------------------------------------------------------------------------------------
const asking = { count: 0, open: false };
async function ask(address) {
  clearTimeout(resting);
  asking.open = true;
  const mine = ++asking.count;
  const sent = text();
  for (const button of document.querySelectorAll("#editor-check, #editor-apply")) button.disabled = true;
  try {
    const answer = await post(address, { text: sent, base, version });
    return mine === asking.count && sent === text() ? answer : null;
  } catch (error) {
    const words = error instanceof Refused ? `${error.message} ${error.hint}`.trim() : String(error.message || error);
    if (mine === asking.count) tell(words, "bad");
    return null;
  } finally {
    if (mine === asking.count) asking.open = false;
    byId("editor-check").disabled = false;
  }
}

async function check() {
  tell(texts.checking, "busy");
  settle(await ask(config.check));
}

async function apply() {
  tell(texts.applying, "busy");
  const answer = await ask(config.apply);
  if (answer?.address) {
    applied = true;
    location.assign(answer.address);
  } else {
    settle(answer);
  }
}

function settle(answer) {
  if (!answer) return;
  byId("editor-conflict").hidden = true;
  if (answer.conflict) return conflict(answer.conflict);
  if (answer.problems) return problems(answer.problems, answer.made);
  view.dispatch(CM.setDiagnostics(view.state, []));
  byId("editor-problems").replaceChildren();
  const same = answer.before === answer.after;
  tell(same ? texts.unchanged : texts.fine, "good");
  compare(same ? null : answer);
  byId("editor-apply").disabled = same;
  byId("editor-compare").scrollIntoView({ block: "nearest" });
}

let found = null;
function conflict(told) {
  found = told;
  tell(texts.conflict, "warn");
  byId("editor-conflict").hidden = false;
  byId("editor-clashes").textContent = told.clashes.length ? fill(texts.clash, { paths: told.clashes.join(", ") }) : "";
  compare({ before: told.before, after: told.after }, [byId("editor-conflict").dataset.before, byId("editor-conflict").dataset.after]);
}

function take(words, replacement) {
  const { theirs, version: newest, clashes } = found;
  write(replacement);
  base = theirs;
  version = newest;
  byId("editor-conflict").hidden = true;
  tell(clashes.length && replacement === found.merged ? fill(texts.clash, { paths: clashes.join(", ") }) : words, "idle");
  view.focus();
}

byId("editor-check").addEventListener("click", check);
byId("editor-apply").addEventListener("click", apply);
byId("editor-merge")?.addEventListener("click", () => take(texts.merged, found.merged));
byId("editor-newest")?.addEventListener("click", () => take(texts.newest, found.theirs));
byId("editor-blueprint")?.addEventListener("change", (event) => config.blueprints[event.target.value] && write(config.blueprints[event.target.value]));
byId("editor-file")?.addEventListener("change", async (event) => event.target.files[0] && write(await event.target.files[0].text()));
addEventListener("beforeunload", (event) => {
  if (!applied && text() !== base && text() !== config.text) event.preventDefault();
});
// For tests and people with other tools: the editor behind the page.
byId("editor").view = view;
