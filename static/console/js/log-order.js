// The order of the lines of several containers, as in the download (workloads/objects/log_merge.py): by time, then
// by container. Lines of one container keep their order, whatever their stamps say.
export class LineOrder {
  #latest = new Map();

  // Where a line belongs; stamps are in UTC with nine digits, so that they compare as text.
  place({ timestamp, source }) {
    const latest = this.#latest.get(source) ?? "";
    const time = timestamp > latest ? timestamp : latest;
    this.#latest.set(source, time);
    return { time, source };
  }

  clear() {
    this.#latest.clear();
  }
}

function isAfter(row, place) {
  return row.time === place.time ? row.source > place.source : row.time > place.time;
}

// The index in ordered rows at which a line belongs: behind those of its moment and container.
export function indexFor(rows, place) {
  let low = 0;
  let high = rows.length;
  // Nearly every line that is followed belongs at the end.
  if (!high || !isAfter(rows[high - 1], place)) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isAfter(rows[middle], place)) high = middle;
    else low = middle + 1;
  }
  return low;
}
