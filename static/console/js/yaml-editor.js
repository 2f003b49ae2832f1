// CodeMirror for YAML as the pages that change objects have it, and problems at their lines.
import { fill } from "./sockets.js";

const DELAY = 700;

function dark() {
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}

// `texts` has editor, collapsed, one_problem; `problems` is the list below; `changed` and `check` are called for a changed
// text and Ctrl+Enter; `lint` resolves to the problems of a text and is asked after a pause in typing.
export class YamlEditor {
  constructor({ parent, problems, text, texts, changed, check, lint }) {
    this.parent = parent;
    this.list = problems;
    this.texts = texts;
    this.lint = lint;
    this.timer = 0;
    this.look = new CM.Compartment();
    this.view = new CM.EditorView({
      doc: text,
      parent,
      extensions: [
        CM.basicSetup,
        CM.keymap.of([CM.indentWithTab, { key: "Mod-Enter", run: () => (check(), true) }]),
        CM.indentUnit.of("  "),
        CM.lintGutter(),
        this.look.of(this.looks()),
        CM.EditorView.contentAttributes.of({ "aria-label": texts.editor, spellcheck: "false", tabindex: "0" }),
        CM.EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          this.clearProblems();
          changed();
          this.lintSoon();
        }),
        ...this.common(),
      ],
    });
    const restyle = () => this.view.dispatch({ effects: this.look.reconfigure(this.looks()) });
    document.addEventListener("themechange", restyle);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    // For tests and people with other tools: the editor behind the page.
    parent.view = this.view;
  }

  looks() {
    return dark() ? [CM.oneDark] : [];
  }

  common() {
    return [
      CM.yaml(),
      CM.EditorView.cspNonce.of(this.parent.dataset.nonce),
      CM.EditorView.lineWrapping,
      CM.EditorState.phrases.of({ "$ unchanged lines": this.texts.collapsed }),
    ];
  }

  get text() {
    return this.view.state.doc.toString();
  }

  set text(replacement) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: replacement } });
  }

  lintSoon() {
    this.lintLater();
    this.timer = setTimeout(() => this.lint(this.text), DELAY);
  }

  lintLater() {
    clearTimeout(this.timer);
  }

  clearProblems() {
    this.list.replaceChildren();
    this.view.dispatch(CM.setDiagnostics(this.view.state, []));
  }

  diagnostic(problem) {
    const line = this.view.state.doc.line(Math.min(Math.max(problem.line, 1), this.view.state.doc.lines));
    const from = Math.min(line.from + problem.column, line.to);
    const to = Math.min(Math.max(line.from + problem.end, from + 1), Math.max(line.to, from));
    return { from, to, severity: "error", message: problem.message };
  }

  showProblems(rows, { reveal = true } = {}) {
    const marked = rows.filter((problem) => problem.line);
    this.view.dispatch(CM.setDiagnostics(this.view.state, marked.map((problem) => this.diagnostic(problem))));
    this.list.replaceChildren(...rows.map((problem) => this.problemItem(problem)));
    if (reveal && marked.length) this.view.dispatch({ effects: CM.EditorView.scrollIntoView(this.diagnostic(marked[0]).from, { y: "center" }) });
  }

  problemItem(problem) {
    const item = document.createElement("li");
    if (!problem.line) {
      item.textContent = problem.message;
      return item;
    }
    const go = document.createElement("button");
    go.type = "button";
    go.className = "quiet";
    go.textContent = fill(this.texts.one_problem, problem);
    go.addEventListener("click", () => {
      const { from } = this.diagnostic(problem);
      this.view.dispatch({ selection: { anchor: from }, effects: CM.EditorView.scrollIntoView(from, { y: "center" }) });
      this.view.focus();
    });
    item.append(go);
    return item;
  }
}
