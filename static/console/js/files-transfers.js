// Files on their way, one after the other with progress; what is there already; large downloads by the browser itself.
import { showNotice } from "./console.js";
import { ask, byId, config, errorText, joinPath, make, nameList, nameNodes, nameText, reasonOf, say, sizeText, texts } from "./files-common.js";
import { Backoff, RequestError, csrf, get, post } from "./sockets.js";

let directory = "/";
let names = new Set();
let uploaded = () => {};
const queue = [];
let current = null;
// Those that wait for a place among the transfers of the person.
const delayed = new Set();
const running = () => [...(current ? [current] : []), ...delayed, ...queue];

// What directory is shown, and what is in it.
export function setPlace(path, entries) {
  directory = path;
  names = entries;
}

export function onUploaded(listener) {
  uploaded = listener;
}

function address(what, values) {
  return `${config.base}${what}?${new URLSearchParams({ container: config.container, ...values })}`;
}

// --- downloads --------------------------------------------------------------------------------------------------------
// What is small comes through this page, with progress and the API's own words when it fails. What may be
// large is handed to the browser, which writes it to the disk as it comes, once a small call has gone well.
const MAX_IN_PAGE = 64 * 1024 * 1024;

export async function download(entry, path) {
  if (entry.type === "file" && entry.size <= MAX_IN_PAGE) {
    queue.push(makeTransfer({ name: entry.name, size: entry.size, path }));
    return advance();
  }
  try {
    if (entry.type === "file") await get(`${config.base}/content`, { container: config.container, path, max_bytes: 0 });
    else await get(`${config.base}/entries`, { container: config.container, path });
    save(address("/download", { path }), "");
  } catch (error) {
    // A link to a file is no directory, and says nothing of its size.
    if (entry.type === "link" && reasonOf(error) === "NotDirectory") return save(address("/download", { path }), "");
    showNotice(errorText(error));
  }
}

// Without a name the address is followed: an attachment leaves this page as it is, and a refusal is a page.
let following = false;
function save(href, name) {
  const link = make("a", { href });
  if (name) link.download = name;
  document.body.append(link);
  following = !name;
  link.click();
  setTimeout(() => (following = false));
  link.remove();
}

async function receiveFile(transfer) {
  const blob = await exchange(transfer, "GET", address("/download", { path: transfer.path }), "blob", null);
  const href = URL.createObjectURL(blob);
  save(href, transfer.name);
  setTimeout(() => URL.revokeObjectURL(href), 60000);
  return { size: blob.size, words: "downloaded" };
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
    const place = folder ? joinPath(target, folder) : target;
    const transfer = makeTransfer({ name: file.name, size: file.size, path: joinPath(place, file.name), file, folder: place, overwrite: replaces });
    // The server would refuse it too, but only once the browser has begun to send.
    if (file.size > config.upload_bytes) settle(transfer, say("too_big", { size: sizeText(config.upload_bytes) }), { bad: true });
    else queue.push(transfer);
  }
  showPanel();
  advance();
}

// Without a `file` it is a download.
function makeTransfer({ name, size, path, file = null, folder = "", overwrite = false }) {
  const bar = make("progress", { max: Math.max(size, 1), value: 0, "aria-label": say(file ? "upload_of" : "download_of", { name: nameText(name) }) });
  const state = make("span", {}, texts.waiting);
  const button = make("button", { type: "button", class: "small" }, texts.cancel);
  const transfer = { name, size, path, file, folder, overwrite, bar, state, button, request: null, timer: 0, over: false, backoff: new Backoff() };
  transfer.row = make("li", {}, make("span", {}, file ? "↑ " : "↓ ", ...nameNodes(path)), bar, state, button);
  button.addEventListener("click", () => (transfer.over ? retry(transfer) : cancel(transfer)));
  byId("files-transfer-list").append(transfer.row);
  return transfer;
}

function showPanel() {
  byId("files-transfers").hidden = !byId("files-transfer-list").childElementCount;
  byId("files-cancel-all").disabled = !running().length;
}

function settle(transfer, words, { bad = false, again = "" } = {}) {
  transfer.over = true;
  transfer.state.textContent = words;
  transfer.state.classList.toggle("bad", bad);
  // A screen reader announces only the end, not every step.
  byId("say").textContent = `${nameText(transfer.name)}: ${words}`;
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
  delayed.delete(transfer);
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
    const { size, words } = await (transfer.file ? sendFile(transfer) : receiveFile(transfer));
    transfer.bar.value = transfer.bar.max;
    settle(transfer, say(words, { size: sizeText(size) }));
    if (transfer.file) uploaded(transfer.folder, transfer.name);
  } catch (error) {
    if (transfer.over) return;
    if (error instanceof RequestError && error.status === 429) return waitAndSend(transfer);
    const exists = transfer.file && reasonOf(error) === "Conflict";
    settle(transfer, exists ? texts.exists : errorText(error), { bad: true, again: exists ? texts.overwrite : "" });
  }
}

function waitAndSend(transfer) {
  const seconds = transfer.backoff.next();
  transfer.state.textContent = say("again", { seconds: Math.round(seconds) });
  current = null;
  delayed.add(transfer);
  transfer.timer = setTimeout(() => {
    delayed.delete(transfer);
    queue.unshift(transfer);
    advance();
  }, seconds * 1000);
}

async function sendFile(transfer) {
  const { folder, name, overwrite, file } = transfer;
  const answer = await exchange(transfer, "POST", address("", { path: folder, name, overwrite }), "text", file);
  return { size: JSON.parse(answer).data.items[0].size, words: "uploaded" };
}

// One request with progress; XMLHttpRequest, as no fetch says how much was sent.
function exchange(transfer, method, url, type, content) {
  return new Promise((resolve, reject) => {
    const request = (transfer.request = new XMLHttpRequest());
    request.open(method, url);
    request.setRequestHeader("Accept", "application/json, */*");
    if (content) {
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.setRequestHeader("X-CSRFToken", csrf());
    }
    request.responseType = type;
    const showProgress = ({ loaded }) => {
      transfer.bar.value = loaded;
      transfer.state.textContent = say("sending", { done: sizeText(loaded), size: sizeText(transfer.size) });
    };
    (content ? request.upload : request).addEventListener("progress", showProgress);
    if (content) request.upload.addEventListener("load", () => (transfer.state.textContent = texts.writing));
    request.addEventListener("load", async () => {
      // The API says in the body whether it did it, and answers 200 to most refusals; a file has a name.
      const done = type === "blob" ? request.getResponseHeader("Content-Disposition") : readJson(request.response).code === 0;
      if (request.status < 400 && done) return resolve(request.response);
      const answer = readJson(type === "blob" ? await request.response.text() : request.response);
      reject(new RequestError(request.status, { message: `HTTP ${request.status}`, details: answer.data || {}, ...(answer.msg ? { message: answer.msg } : {}), ...answer }));
    });
    request.addEventListener("error", () => reject(new Error("network")));
    request.send(content);
  });
}

function readJson(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

byId("files-cancel-all").addEventListener("click", () => {
  for (const transfer of running().reverse()) cancel(transfer);
});
byId("files-clear").addEventListener("click", () => {
  for (const row of [...byId("files-transfer-list").children]) if (!isRunning(row)) row.remove();
  showPanel();
});
const isRunning = (row) => running().some((transfer) => transfer.row === row);

addEventListener("beforeunload", (event) => {
  if (!following && running().length) event.preventDefault();
});

// --- what was dropped: files, and directories with everything in them ---------------------------------------------------
const pane = byId("files-pane");
const hasFiles = (event) => config.may_write && event.dataTransfer?.types.includes("Files");
for (const name of ["dragenter", "dragover"]) {
  pane.addEventListener(name, (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    byId("files-drop").hidden = false;
  });
}
pane.addEventListener("dragleave", (event) => {
  if (!pane.contains(event.relatedTarget)) byId("files-drop").hidden = true;
});
pane.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  byId("files-drop").hidden = true;
  uploadDropped(event.dataTransfer);
});

async function uploadDropped(transfer) {
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
