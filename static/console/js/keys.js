// Keys of ConfigMaps and Secrets: a value of a Secret is fetched when somebody asks for it, and hidden again.
import { RequestError, post } from "./sockets.js";
import { showNotice } from "./console.js";

async function secretValue(list, row) {
  return post(list.dataset.reveal, { key: row.dataset.keyName });
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    showNotice(error instanceof RequestError ? `${error.message} ${error.hint}`.trim() : String(error.message || error));
  }
}

async function reveal(list, row, button) {
  const box = row.querySelector("[data-value]");
  const shown = button.getAttribute("aria-pressed") === "true";
  if (shown) {
    box.textContent = list.dataset.hidden;
  } else {
    const answer = await secretValue(list, row);
    // Bytes that are no text are shown as they are stored.
    box.textContent = answer.text ?? answer.value;
  }
  button.setAttribute("aria-pressed", String(!shown));
  button.textContent = shown ? list.dataset.show : list.dataset.hide;
}

async function copy(list, row) {
  let text = row.querySelector("[data-value]").textContent;
  if (row.querySelector("[data-reveal-key]")) {
    const answer = await secretValue(list, row);
    text = answer.text ?? answer.value;
  }
  await navigator.clipboard.writeText(text);
  showNotice(list.dataset.copied, "success");
}

for (const list of document.querySelectorAll("[data-keys]")) {
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-key-name]");
    const button = event.target.closest("button");
    if (!row || !button) return;
    if (button.hasAttribute("data-reveal-key")) attempt(() => reveal(list, row, button));
    if (button.hasAttribute("data-copy-key")) attempt(() => copy(list, row));
  });
}
