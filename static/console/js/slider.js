// Travelling in time: a slider over the versions of an object, and one over the last day of a cluster.
function words(moment) {
  return new Date(moment).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });
}

const slider = document.querySelector("[data-slider]");
const listed = document.getElementById("moments");
if (slider && listed) {
  const moments = JSON.parse(listed.textContent);
  const input = slider.querySelector("input");
  const output = slider.querySelector("output");
  const index = moments.findIndex((version) => version.at === slider.dataset.at);
  input.max = String(moments.length - 1);
  input.value = String(index < 0 ? moments.length - 1 : index);
  const showMoment = () => {
    const version = moments[Number(input.value)];
    output.textContent = words(version.at);
    input.setAttribute("aria-valuetext", output.textContent);
    return version;
  };
  const look = () => {
    const version = showMoment();
    const query = new URLSearchParams({ at: version.at, seq: version.op === "delete" || Number(input.value) === moments.length - 1 ? "0" : version.seq });
    window.htmx.ajax("GET", `${slider.dataset.address}?${query}`, { target: "#then", swap: "outerHTML" });
  };
  input.addEventListener("input", showMoment);
  input.addEventListener("change", look);
  showMoment();
}

const ago = document.querySelector("[data-ago]");
if (ago) {
  const input = ago.querySelector('input[type="range"]');
  const at = ago.querySelector('input[name="at"]');
  const output = ago.querySelector("output");
  if (at.value) input.value = String(Math.round((new Date(at.value) - Date.now()) / 60000));
  input.addEventListener("input", () => {
    const minutes = Number(input.value);
    at.value = minutes < 0 ? new Date(Date.now() + minutes * 60000).toISOString().replace(/\.\d+Z$/, "Z") : "";
    if (at.value) output.textContent = words(at.value);
  });
}
