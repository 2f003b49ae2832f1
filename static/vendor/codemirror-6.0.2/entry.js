// The editor of the console: what its pages use of CodeMirror, as one global.
export { EditorView, basicSetup } from "codemirror";
export { EditorState, Compartment } from "@codemirror/state";
export { keymap } from "@codemirror/view";
export { indentWithTab, indentLess, indentMore } from "@codemirror/commands";
export { indentUnit, foldAll, unfoldAll } from "@codemirror/language";
export { yaml } from "@codemirror/lang-yaml";
export { lintGutter, setDiagnostics, openLintPanel, forEachDiagnostic } from "@codemirror/lint";
export { MergeView, unifiedMergeView } from "@codemirror/merge";
export { oneDark } from "@codemirror/theme-one-dark";
