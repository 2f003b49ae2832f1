// The graph: what is pointed at stays bright with everything that it leads to and that leads to it; size by buttons.
const picture = document.getElementById("topology");

if (picture) {
  const boxes = [...picture.querySelectorAll(".box")];
  const lines = [...picture.querySelectorAll("path")];

  const reach = (start, from, to) => {
    const seen = new Set([start]);
    for (const waiting = [start]; waiting.length; ) {
      const here = waiting.pop();
      for (const line of lines) {
        if (line.dataset[from] === here && !seen.has(line.dataset[to])) {
          seen.add(line.dataset[to]);
          waiting.push(line.dataset[to]);
        }
      }
    }
    return seen;
  };

  const point = (box) => {
    picture.classList.toggle("pointed", Boolean(box));
    const down = box ? reach(box.dataset.id, "from", "to") : new Set();
    const up = box ? reach(box.dataset.id, "to", "from") : new Set();
    for (const element of boxes) element.classList.toggle("near", down.has(element.dataset.id) || up.has(element.dataset.id));
    for (const element of lines) {
      const below = down.has(element.dataset.from) && down.has(element.dataset.to);
      element.classList.toggle("near", below || (up.has(element.dataset.from) && up.has(element.dataset.to)));
    }
  };
  picture.addEventListener("pointerover", (event) => point(event.target.closest(".box")));
  picture.addEventListener("pointerleave", () => point(null));
  picture.addEventListener("focusin", (event) => point(event.target.closest(".box")));
  picture.addEventListener("focusout", () => point(null));

  const { width, height } = picture.viewBox.baseVal;
  let scale = 1;
  const size = (newScale) => {
    scale = Math.min(Math.max(newScale, 0.3), 2);
    picture.setAttribute("width", width * scale);
    picture.setAttribute("height", height * scale);
  };
  const fit = () => size(Math.min((picture.parentElement.clientWidth - 20) / width, 1));
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => (button.dataset.zoom === "0" ? fit() : size(scale * (button.dataset.zoom === "1" ? 1.2 : 1 / 1.2))));
  }
  const open = () => {
    const view = picture.parentElement;
    if (width <= view.clientWidth) return;
    // Smaller letters cannot be read: what does not fit then is scrolled, from the object that the page is about.
    size(Math.max((view.clientWidth - 20) / width, 0.6));
    const here = picture.querySelector(".here rect");
    if (here) view.scrollLeft = (here.x.baseVal.value + here.width.baseVal.value / 2) * scale - view.clientWidth / 2;
  };
  // Before the styles are there nothing has its width.
  if (document.readyState === "complete") open();
  else addEventListener("load", open, { once: true });
}
