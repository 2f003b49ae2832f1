// Text fields of templates become editors; the field is what is sent, and works without this script.
const dark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
const looks = () => (dark() ? [CM.oneDark] : []);
const nonce = document.querySelector("form[data-nonce]").dataset.nonce;

for (const field of document.querySelectorAll("textarea[data-editor]")) {
  const frame = document.createElement("div");
  frame.className = "editor-frame template-frame";
  // A label would send each press inside the editor to the hidden field.
  const label = field.closest("label");
  const block = document.createElement("div");
  block.className = "template-text";
  block.append(...label.childNodes);
  label.replaceWith(block);
  field.hidden = true;
  // A hidden field that is required could not be sent, and nobody would see why.
  field.required = false;
  field.after(frame);
  const look = new CM.Compartment();
  const view = new CM.EditorView({
    doc: field.value,
    parent: frame,
    extensions: [
      CM.basicSetup,
      CM.keymap.of([CM.indentWithTab]),
      CM.indentUnit.of("  "),
      CM.yaml(),
      CM.EditorView.cspNonce.of(nonce),
      CM.EditorView.lineWrapping,
      look.of(looks()),
      CM.EditorView.contentAttributes.of({ "aria-label": field.dataset.label, spellcheck: "false", tabindex: "0" }),
      CM.EditorView.updateListener.of((update) => { if (update.docChanged) field.value = view.state.doc.toString(); }),
    ],
  });
  const restyle = () => view.dispatch({ effects: look.reconfigure(looks()) });
  document.addEventListener("themechange", restyle);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
  // For tests and people with other tools: the editor behind the field.
  frame.view = view;
}
