// Forms that are sent as soon as something is chosen; without this script their button does it.
for (const form of document.querySelectorAll("form[data-resend]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

// What is sent is sent once: pressing twice would ask for the same thing twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  // A download leaves its page as it is, ready for the next one.
  if (form.method !== "post" || event.defaultPrevented || event.submitter?.hasAttribute("data-download")) return;
  setTimeout(() => {
    for (const button of form.querySelectorAll('button[type="submit"]:enabled')) {
      button.disabled = true;
      button.dataset.sent = "";
    }
  });
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("button[data-sent]")) button.disabled = false;
});

// An answer that is put into its form says which field is wrong: it is marked, and gets the focus.
document.body.addEventListener("htmx:afterSwap", ({ detail }) => {
  const form = detail.target.closest?.("form");
  if (!form) return;
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
  const notice = detail.target.querySelector("[data-control]");
  const input = notice && form.elements[notice.dataset.control];
  if (!(input instanceof HTMLElement)) return;
  notice.id ||= "field-error-1";
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", notice.id);
  input.focus();
});

// Moments that are chosen in the viewer's zone are sent as moments.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("formdata", (event) => {
    for (const input of form.querySelectorAll('input[type="datetime-local"]')) {
      if (input.value) event.formData.set(input.name, new Date(input.value).toISOString());
    }
  });
}
for (const input of document.querySelectorAll('input[type="datetime-local"][data-moment]')) {
  const at = new Date(input.dataset.moment);
  if (!Number.isNaN(at.valueOf())) input.value = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

// Secrets that are shown once.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const shown = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent += " ✓";
    } catch {
      getSelection().selectAllChildren(shown);
    }
  });
}

for (const button of document.querySelectorAll("button[data-print]")) button.addEventListener("click", () => window.print());
