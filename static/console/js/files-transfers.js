// Files on their way: uploads one after the other with progress, what is there already, downloads by the browser itself.
import { showNotice } from "./console.js";
import { ask, byId, config, errorText, joinPath, make, nameList, nameNodes, nameText, reasonOf, say, sizeText, texts } from "./files-common.js";
import { Backoff, RequestError, post } from "./sockets.js";

let directory = "/";
let names = new Set();
let uploaded = () => {};
const queue = [];
let current = null;

// What directory is shown, and what is in it.
export function setPlace(path, entries) {
  directory = path;
  names = entries;
}

export function onUploaded(listener) {
  uploaded = listener;
}

// A web address that lets one transfer through, once.
const ticket = (values) => post(`${config.base}/transfer`, { container: config.container, ...values });

// --- downloads --------------------------------------------------------------------------------------------------------
export async function download(entry, path) {
  try {
    const { url } = await ticket({ direction: "download", path });
    const link = make("a", { href: url, download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  } catch (error) {
    showNotice(errorText(error));
  }
}

// --- uploads ----------------------------------------------------------------------------------------------------------
// Each is {file, folder}: the folder is a path below the directory that is shown, "" for itself.
export async function upload(files) {
  const target = directory;
  const there = files.filter(({ file, folder }) => !folder && names.has(file.name));
  let overwrite = false;
  let accepted = files;
  if (there.length) {
    const answer = await ask({
      title: [say("overwrite_title", { count: there.length })],
      body: [make("p", {}, texts.overwrite_text), nameList(there.map(({ file }) => file.name))],
      actions: [{ name: "skip", label: texts.skip }, { name: "overwrite", label: texts.overwrite, style: "danger primary" }],
    });
    if (!answer) return;
    overwrite = answer === "overwrite";
    if (!overwrite) accepted = files.filter((one) => !there.includes(one));
  }
  for (const { file, folder } of accepted) {
    const replaces = overwrite && there.some((one) => one.file === file);
    queue.push(makeTransfer(file, folder ? joinPath(target, folder) : target, replaces));
  }
  showPanel();
  advance();
}

function makeTransfer(file, folder, overwrite) {
  const bar = make("progress", { max: Math.max(file.size, 1), value: 0, "aria-label": say("upload_of", { name: nameText(file.name) }) });
  const state = make("span", {}, texts.waiting);
  const button = make("button", { type: "button", class: "small" }, texts.cancel);
  const transfer = { file, folder, overwrite, bar, state, button, request: null, timer: 0, over: false, backoff: new Backoff() };
  transfer.row = make("li", {}, make("span", {}, ...nameNodes(joinPath(folder, file.name))), bar, state, button);
  button.addEventListener("click", () => (transfer.over ? retry(transfer) : cancel(transfer)));
  byId("files-transfer-list").append(transfer.row);
  return transfer;
}

function showPanel() {
  byId("files-transfers").hidden = !byId("files-transfer-list").childElementCount;
  byId("files-cancel-all").disabled = !current && !queue.length;
}

function settle(transfer, words, { bad = false, again = "" } = {}) {
  transfer.over = true;
  transfer.state.textContent = words;
  transfer.state.classList.toggle("bad", bad);
  // Only the end is said aloud, not every step.
  byId("say").textContent = `${nameText(transfer.file.name)}: ${words}`;
  transfer.bar.hidden = bad;
  transfer.button.hidden = !again;
  transfer.button.textContent = again || texts.cancel;
  if (current === transfer) {
    current = null;
    advance();
  }
  showPanel();
}

function cancel(transfer) {
  const waiting = queue.indexOf(transfer);
  if (waiting >= 0) queue.splice(waiting, 1);
  clearTimeout(transfer.timer);
  transfer.request?.abort();
  transfer.bar.value = 0;
  settle(transfer, texts.cancelled);
}

// Only for what was there already: sent again, it replaces that.
function retry(transfer) {
  transfer.over = false;
  transfer.overwrite = true;
  transfer.bar.hidden = false;
  transfer.bar.value = 0;
  transfer.state.classList.remove("bad");
  transfer.state.textContent = texts.waiting;
  transfer.button.textContent = texts.cancel;
  queue.push(transfer);
  advance();
}

async function advance() {
  if (current || !queue.length) return showPanel();
  const transfer = (current = queue.shift());
  showPanel();
  try {
    const answer = await sendFile(transfer);
    if (transfer.over) return;
    transfer.bar.value = transfer.bar.max;
    const [item] = answer.items;
    settle(transfer, say("uploaded", { size: sizeText(item.size) }));
    uploaded(transfer.folder, transfer.file.name);
  } catch (error) {
    if (transfer.over) return;
    if (error instanceof RequestError && error.status === 429) return waitAndSend(transfer);
    const exists = reasonOf(error) === "Conflict" || reasonOf(error) === "AlreadyExists";
    settle(transfer, exists ? texts.exists : errorText(error), { bad: true, again: exists ? texts.overwrite : "" });
  }
}

function waitAndSend(transfer) {
  const seconds = transfer.backoff.next();
  transfer.state.textContent = say("again", { seconds: Math.round(seconds) });
  current = null;
  transfer.timer = setTimeout(() => {
    queue.unshift(transfer);
    advance();
  }, seconds * 1000);
  // What waits behind it would meet the same limit.
}

async function sendFile(transfer) {
  const { url } = await ticket({ direction: "upload", path: transfer.folder, name: transfer.file.name, overwrite: transfer.overwrite });
  if (transfer.over) return null;
  return new Promise((resolve, reject) => {
    const request = (transfer.request = new XMLHttpRequest());
    request.open("POST", url);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", ({ loaded }) => {
      transfer.bar.value = loaded;
      transfer.state.textContent = say("sending", { done: sizeText(loaded), size: sizeText(transfer.file.size) });
    });
    request.upload.addEventListener("load", () => (transfer.state.textContent = texts.writing));
    request.addEventListener("load", () => {
      const answer = request.response ?? {};
      if (request.status < 400 && answer.code === 0) resolve(answer.data);
      else reject(new RequestError(request.status, { message: answer.msg || `HTTP ${request.status}`, code: answer.code, details: answer.data || {} }));
    });
    request.addEventListener("error", () => reject(new Error("network")));
    request.send(transfer.file);
  });
}

byId("files-cancel-all").addEventListener("click", () => {
  for (const transfer of [...queue, ...(current ? [current] : [])]) cancel(transfer);
});
byId("files-clear").addEventListener("click", () => {
  for (const row of [...byId("files-transfer-list").children]) if (!isRunning(row)) row.remove();
  showPanel();
});
const isRunning = (row) => current?.row === row || queue.some((transfer) => transfer.row === row);

addEventListener("beforeunload", (event) => {
  if (current || queue.length) event.preventDefault();
});

// --- what was dropped: files, and directories with everything in them ---------------------------------------------------
export async function uploadDropped(transfer) {
  // Entries have to be asked for before the first wait; afterwards the browser has emptied the transfer.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...transfer.files];
  if (!entries.some((entry) => entry.isDirectory)) return upload(plain.map((file) => ({ file, folder: "" })));
  const target = directory;
  const files = [];
  try {
    for (const entry of entries) await collect(entry, "", files, target);
  } catch (error) {
    return showNotice(errorText(error));
  }
  uploaded(target, entries[0].name);
  return upload(files);
}

async function collect(entry, folder, files, target) {
  if (entry.isFile) {
    files.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), folder });
    return;
  }
  const path = folder ? `${folder}/${entry.name}` : entry.name;
  await post(`${config.base}/mkdir`, { container: config.container, path: joinPath(target, path), parents: true });
  const reader = entry.createReader();
  // A reader gives at most a hundred at once, and nothing when it is through.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const one of some) await collect(one, path, files, target);
  }
}
