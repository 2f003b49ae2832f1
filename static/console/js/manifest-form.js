// The form beside the YAML of a new object. The text stays what is sent; the form is read into it before each use.
import { post } from "./sockets.js";

export class ManifestForm {
  // `read` and `write` are the editor's text; `problems` shows rows of problems there, `say` a sentence.
  constructor({ element, config, read, write, problems, say, changed }) {
    Object.assign(this, { element, config, read, write, problems, say, changed });
    this.frame = document.querySelector(".editor-frame");
    this.buttons = [...document.querySelectorAll("[data-view]")];
    for (const button of this.buttons) button.addEventListener("click", () => this.choose(button.dataset.view));
    element.addEventListener("click", (event) => this.onClick(event));
    this.dirty = false;
    this.queue = Promise.resolve();
    element.addEventListener("input", () => this.onEntry());
    element.addEventListener("submit", (event) => event.preventDefault());
  }

  get open() {
    return !this.element.hidden;
  }

  get entries() {
    return [...new FormData(this.element).entries()];
  }

  onEntry() {
    this.dirty = true;
    this.clearMarks();
    this.changed();
  }

  async choose(view) {
    // The open form is not made anew out of the text, which has none of its latest entries.
    if (view === "form" && this.open) return;
    try {
      await this.show(view);
    } catch (error) {
      this.say(`${error.message} ${error.hint || ""}`.trim(), "bad");
    }
  }

  // One after the other: YAML's slow answer would hide the form that was opened after it.
  enqueue(work) {
    const result = this.queue.then(work);
    this.queue = result.catch(() => {});
    return result;
  }

  // Returns whether the view is the one that was asked for.
  show(view) {
    return this.enqueue(() => this.change(view));
  }

  save() {
    return this.enqueue(() => this.merge());
  }

  async change(view) {
    if (view === "form" ? !(await this.load()) : this.open && !(await this.merge())) return false;
    this.element.hidden = view !== "form";
    this.frame.hidden = view === "form";
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    return true;
  }

  async load() {
    const answer = await post(this.config.form, { text: this.read() });
    if (answer.problems) {
      this.problems(answer.problems);
      return false;
    }
    this.element.innerHTML = answer.html;
    this.dirty = false;
    return true;
  }

  // Bring what was entered into the text; false, with the fields marked, when something is wrong.
  async merge() {
    const answer = await post(this.config.merge, { text: this.read(), fields: this.entries });
    if (answer.fields) {
      this.mark(answer.fields);
      return false;
    }
    if (answer.problems) {
      this.problems(answer.problems);
      return false;
    }
    this.dirty = false;
    if (answer.text !== this.read()) this.write(answer.text);
    // The numbers of containers are those of the text before: the form is made out of the new one.
    if (answer.renumbered) return this.load();
    return true;
  }

  clearMarks() {
    for (const text of this.element.querySelectorAll(".field-error")) text.remove();
    for (const input of this.element.querySelectorAll("[aria-invalid]")) {
      input.removeAttribute("aria-invalid");
      input.removeAttribute("aria-describedby");
    }
  }

  mark(rows) {
    this.clearMarks();
    rows.forEach(({ name, message }, index) => {
      const field = this.fieldOf(name);
      if (!field) return;
      const text = document.createElement("p");
      text.className = "field-error";
      text.id = `field-error-${index}`;
      text.textContent = message;
      field.append(text);
      for (const input of field.querySelectorAll("input:not([type=hidden]), select, textarea")) {
        input.setAttribute("aria-invalid", "true");
        input.setAttribute("aria-describedby", text.id);
      }
    });
    this.say(this.config.texts.marked, "bad");
    this.element.querySelector("[aria-invalid], .field-error")?.focus();
  }

  // The field that a path of the cluster's refusal is about: itself, or what it is a part of.
  fieldOf(path) {
    const fields = [...this.element.querySelectorAll("[data-field]")];
    const inside = fields.filter(({ dataset }) => path === dataset.field || path.startsWith(`${dataset.field}.`) || path.startsWith(`${dataset.field}[`));
    return inside.sort((one, other) => other.dataset.field.length - one.dataset.field.length)[0] || null;
  }

  // Mark what the cluster refused; true when every problem has a field.
  markRefusal(rows) {
    const marked = rows.filter((row) => row.field && this.fieldOf(row.field));
    if (marked.length) this.mark(marked.map((row) => ({ name: row.field, message: row.message })));
    return marked.length === rows.length;
  }

  // A section for another container, out of the one that stands ready for it.
  addContainer(group) {
    const sections = group.querySelector("[data-sections]");
    const numbers = [...sections.querySelectorAll('[name$="[].place"]')].map((input) => Number(input.value));
    const next = Math.max(-1, ...numbers) + 1;
    const blank = group.querySelector(":scope > template");
    const made = document.createElement("template");
    made.innerHTML = blank.innerHTML.replaceAll(`[${group.dataset.blank}]`, `[${next}]`);
    made.content.querySelector('[name$="[].place"]').value = next;
    sections.append(made.content);
    sections.lastElementChild.querySelector("input:not([type=hidden])").focus();
  }

  onContainer(event) {
    const group = event.target.closest("[data-containers]");
    if (event.target.closest("[data-add-container]")) {
      this.addContainer(group);
    } else if (event.target.closest("[data-remove-container]")) {
      event.target.closest("[data-container]").remove();
      group.querySelector(":scope > [data-add-container]").focus();
    } else {
      return false;
    }
    return true;
  }

  onClick(event) {
    if (this.onContainer(event)) {
      this.onEntry();
      return;
    }
    const adder = event.target.closest("[data-add-row]");
    const remover = event.target.closest("[data-remove-row]");
    if (adder) {
      const group = adder.closest(".form-rows");
      const list = group.querySelector("[data-rows]");
      list.append(group.querySelector("template").content.cloneNode(true));
      list.lastElementChild.querySelector("input:not([type=hidden]), select")?.focus();
    } else if (remover) {
      const group = remover.closest(".form-rows");
      remover.closest(".form-row").remove();
      group.querySelector("[data-add-row]").focus();
    } else {
      return;
    }
    this.onEntry();
  }
}
