// The sidebar as the person left it: open groups, the namespaces to choose, the address that a saved view keeps.
const YEAR = 31536000;

document.getElementById("nav")?.addEventListener("click", (event) => {
  if (!event.target.closest("summary")?.parentElement.dataset.group) return;
  // The group opens or closes after the click.
  setTimeout(() => {
    const open = [...document.querySelectorAll("#nav details[data-group][open]")].map((group) => group.dataset.group);
    document.cookie = `groups=${open.join(".") || "none"}; path=/; max-age=${YEAR}; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
  });
});

// "All" chooses no namespace and says so at once.
document.addEventListener("reset", (event) => {
  if (!event.target.matches(".switcher")) return;
  event.preventDefault();
  for (const box of event.target.querySelectorAll("input:checked")) box.checked = false;
  event.target.requestSubmit();
});

// A table's own address has its filters, order and namespaces, also those that are no part of the page's address.
document.addEventListener("submit", (event) => {
  const here = event.target.querySelector("[data-here]");
  if (!here) return;
  // A page without a name of one's own is kept under its title.
  here.form.elements.name.value ||= document.title.replace(/ · KubeGale$/, "").slice(0, 100);
  here.value = (document.getElementById("table") || document.getElementById("fleet"))?.dataset.address || location.pathname + location.search;
}, true);

// Filters that are chosen and not typed apply at once; the kind is a part of the address.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  else if (event.target.id === "fleet-kind") location.assign(event.target.dataset.address + event.target.value);
});

// On a phone not every tab fits: the bar is scrolled to the current one.
function showCurrentTab() {
  const tab = document.querySelector("nav.tabs [aria-current]");
  if (!tab) return;
  const bar = tab.parentElement;
  bar.scrollLeft = tab.offsetLeft - bar.offsetLeft - (bar.clientWidth - tab.offsetWidth) / 2;
}
showCurrentTab();
document.addEventListener("htmx:afterSettle", (event) => { if (event.detail.boosted) showCurrentTab(); });
