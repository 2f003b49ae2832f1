// Says in words when the chosen crontab of a periodic task runs.
const inWords = JSON.parse(document.getElementById("readable-crontabs").textContent);
const choice = document.getElementById("id_crontab");
const hint = document.querySelector(".field-crontab .help");

if (choice && hint) {
  const plain = hint.textContent;
  choice.addEventListener("change", () => {
    hint.textContent = [plain, inWords[choice.value]].filter(Boolean).join(" ");
  });
}
