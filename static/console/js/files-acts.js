// What is done to entries of the list of files: each asks what it has to know, and reads the directory again.
// `list` is the list as they need it: its directory, its chosen entries, and what becomes chosen.
import { showNotice } from "./console.js";
import { ask, byId, config, errorText, fillNodes, joinPath, make, nameList, nameNodes, nameText, reasonOf, say, texts } from "./files-common.js";
import { createFile } from "./files-view.js";
import { post } from "./sockets.js";

const grid = byId("files");
const send = (what, values) => post(`${config.base}/${what}`, { container: config.container, ...values });
const absolute = (list, name) => (name.startsWith("/") ? name : joinPath(list.directory(), name));
const askName = (title) => ask({ title: [title], field: { label: texts.mkdir_label, value: "" }, actions: [{ name: "create", label: texts.create, style: "primary" }] });

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    showNotice(errorText(error));
  }
  grid.focus({ preventScroll: true });
}

export async function makeDirectory(list) {
  const name = await askName(texts.mkdir_title);
  if (!name) return;
  await attempt(async () => {
    await send("mkdir", { path: absolute(list, name), parents: name.includes("/") });
    await list.reload(name.split("/")[0]);
    showNotice(say("made", { name: nameText(name) }), "success");
  });
}

export async function makeFile(list) {
  const name = await askName(texts.new_file_title);
  if (name) createFile(name, absolute(list, name));
}

export async function rename(list) {
  const [entry] = list.targets();
  if (!entry) return;
  const answer = await ask({ title: [texts.move_title, ": ", ...nameNodes(entry.name)], field: { label: texts.move_label, value: entry.name }, actions: [{ name: "move", label: texts.move, style: "primary" }] });
  if (!answer || answer === entry.name) return grid.focus();
  const to = absolute(list, answer);
  await attempt(async () => {
    try {
      await send("move", { from: list.pathOf(entry), to, overwrite: false });
    } catch (error) {
      if (reasonOf(error) !== "Conflict") throw error;
      const replace = await ask({ title: fillNodes("replace_title", { name: answer }), body: [make("p", {}, texts.replace_text)], actions: [{ name: "replace", label: texts.replace, style: "danger primary" }] });
      if (!replace) return;
      await send("move", { from: list.pathOf(entry), to, overwrite: true });
    }
    list.choose(answer);
    await list.reload(answer);
    showNotice(say("moved", { name: nameText(to) }), "success");
  });
}

export async function remove(list) {
  const entries = list.targets();
  if (!entries.length) return;
  const directories = entries.filter((entry) => entry.type === "dir").map((entry) => entry.name);
  const title = entries.length === 1 ? fillNodes("delete_title_one", { name: entries[0].name }) : [say("delete_title", { count: entries.length })];
  const details = [make("p", {}, texts.delete_text)];
  if (directories.length) details.push(make("p", { class: "notice error" }, ...fillNodes("delete_recursive", { names: directories.slice(0, 12).join(", ") + (directories.length > 12 ? ` +${directories.length - 12}` : "") })));
  if (entries.length > 1) details.push(nameList(entries.map((entry) => entry.name)));
  const sure = await ask({ title, body: details, actions: [{ name: "delete", label: texts.delete, style: "danger primary" }] });
  if (!sure) return grid.focus();
  const next = list.previous();
  let count = 0;
  await attempt(async () => {
    try {
      for (const entry of entries) {
        await send("remove", { path: list.pathOf(entry), recursive: entry.type === "dir" });
        count += 1;
      }
      showNotice(say("deleted", { count }), "success");
    } finally {
      await list.reload(next);
    }
  });
}
