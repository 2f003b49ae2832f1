// The bar above a table: shown while rows are chosen, and sends their names along.
const bar = document.getElementById("bulk");

document.addEventListener("selection", (event) => {
  if (!bar) return;
  bar.hidden = event.detail.length === 0;
  bar.querySelector("[data-count]").textContent = String(event.detail.length);
  bar.querySelector("[data-rows]").replaceChildren(...event.detail.map((name) => {
    const input = document.createElement("input");
    input.type = "hidden";
    input.name = "row";
    input.value = name;
    return input;
  }));
});
