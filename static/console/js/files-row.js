// The row of an entry in the list of files.
import { make, nameNodes, nameText, say, sizeText, texts } from "./files-common.js";
import { moment } from "./times.js";

export const isHidden = (entry) => entry.name.startsWith(".");

const BITS = ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"];
const modeText = (mode) => (/^[0-7]{3,5}$/.test(mode ?? "") ? [...mode.slice(-3)].map((digit) => BITS[digit]).join("") : "");

export function makeRow(entry) {
  const kind = texts[entry.type] || entry.type;
  const box = make("input", { type: "checkbox", tabIndex: -1, "aria-label": say("select", { name: nameText(entry.name) }) });
  const open = make("button", { type: "button", class: "open", tabIndex: -1, title: nameText(entry.name) }, ...nameNodes(entry.name));
  const name = make("span", { role: "gridcell", class: "name" }, make("span", { class: "sign", role: "img", "aria-label": kind, title: kind }), open);
  if (entry.target) name.append(make("span", { class: "target", title: nameText(entry.target) }, "→ ", ...nameNodes(entry.target)));
  const date = entry.mtime ? new Date(entry.mtime) : null;
  const dated = date && !Number.isNaN(date.valueOf());
  const size = entry.type === "dir" ? "" : sizeText(entry.size);
  return make(
    "div",
    { role: "row", class: `${entry.type}${isHidden(entry) ? " hidden-file" : ""}` },
    make("span", { role: "gridcell", class: "pick" }, box),
    name,
    make("span", { role: "gridcell", class: "size", title: entry.type === "dir" ? "" : `${entry.size} B` }, size),
    make("span", { role: "gridcell", class: "mode", title: modeText(entry.mode) }, entry.mode ?? ""),
    make("span", { role: "gridcell", class: "owner" }, `${entry.uid ?? ""}:${entry.gid ?? ""}`),
    make("span", { role: "gridcell", class: "time" }, dated ? make("time", { dateTime: entry.mtime }, moment(date)) : ""),
  );
}
