// The form of a deployment: targets are added and removed, refusals stand at their fields.
const form = document.getElementById("value-form");
const targets = document.getElementById("targets");

// --- what the API refused, at the field it names --------------------------------------------------------------------
// `image.tag` is at its own field, or at that of the value around it.
function placeOf(path) {
  const places = [...form.querySelectorAll("[data-place]")];
  const isAround = (place) => path === place || path.startsWith(`${place}.`) || path.startsWith(`${place}[`);
  return places.filter((element) => isAround(element.dataset.place)).sort((a, b) => b.dataset.place.length - a.dataset.place.length)[0];
}

function clearMarks() {
  for (const message of form.querySelectorAll(".field-error")) message.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function markField({ field, message }, focus) {
  const place = placeOf(field);
  const input = place?.querySelector("input:not([type=hidden]), select, textarea");
  if (!input) return;
  const words = document.createElement("p");
  words.className = "field-error";
  words.id = "field-error";
  words.textContent = message;
  place.append(words);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", words.id);
  if (focus) input.focus();
}

document.body.addEventListener("htmx:afterSwap", (event) => {
  const swapped = event.detail.target;
  if (swapped.id !== "outcome" && swapped.id !== "rendered") return;
  clearMarks();
  const refusal = swapped.querySelector("[data-field]");
  if (refusal) markField(refusal.dataset, swapped.id === "outcome");
  else if (swapped.id === "outcome") swapped.scrollIntoView({ block: "nearest" });
});

// --- targets --------------------------------------------------------------------------------------------------------
async function offerNamespaces(row) {
  const cluster = row.querySelector("select").value;
  const list = row.querySelector("datalist");
  list.replaceChildren();
  if (!cluster) return;
  try {
    const answer = await fetch(`/clusters/${cluster}/-/namespaces`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const options = new DOMParser().parseFromString(await answer.text(), "text/html").querySelectorAll("option");
    list.replaceChildren(...[...options].filter((option) => option.getAttribute("value") !== ""));
  } catch {
    // They are suggestions; a namespace can be written without.
  }
}

function removeButton(row) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "icon";
  button.textContent = "×";
  button.setAttribute("aria-label", targets.dataset.remove);
  button.addEventListener("click", () => {
    row.remove();
    add.focus();
  });
  return button;
}

const add = document.getElementById("add-target");
let count = targets?.children.length ?? 0;
if (targets) {
  add.hidden = false;
  add.addEventListener("click", () => {
    const last = targets.lastElementChild;
    const row = last.cloneNode(true);
    count += 1;
    row.querySelector(".icon")?.remove();
    row.querySelector("datalist").id = `namespaces-${count}`;
    const namespace = row.querySelector('input[name="namespace"]');
    namespace.setAttribute("list", `namespaces-${count}`);
    namespace.value = "";
    row.querySelector("select").value = last.querySelector("select").value;
    row.append(removeButton(row));
    targets.append(row);
    row.querySelector("select").focus();
  });
  targets.addEventListener("change", (event) => {
    if (event.target.name === "cluster") offerNamespaces(event.target.closest(".target"));
  });
  const rows = [...targets.children];
  for (const row of rows) offerNamespaces(row);
  for (const row of rows.slice(1)) row.append(removeButton(row));
}
