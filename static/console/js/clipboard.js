// The clipboard: text is copied by a button, which says whether it was.
const SAID_MS = 2500;

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without TLS a browser has no clipboard for scripts but this one.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "offscreen";
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  if (!done) throw new Error("copy");
  return undefined;
}

const labels = new WeakMap();

// The button's label becomes a word for a moment.
export function say(button, word) {
  if (!labels.has(button)) labels.set(button, button.textContent);
  button.textContent = word;
  setTimeout(() => (button.textContent = labels.get(button)), SAID_MS);
}

export async function copyFrom(button, text, { copied, not_copied: notCopied }) {
  try {
    await copy(text);
    say(button, copied);
  } catch {
    say(button, notCopied);
  }
}
