// Ages that go on, moments in the viewer's own zone.

export function shortAge(seconds) {
  const left = Math.max(Math.floor(seconds), 0);
  if (left < 120) return `${left}s`;
  const minutes = Math.floor(left / 60);
  if (minutes < 10) return left % 60 ? `${minutes}m${left % 60}s` : `${minutes}m`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 ? `${hours}h${minutes % 60}m` : `${hours}h`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return hours % 24 ? `${days}d${hours % 24}h` : `${days}d`;
  return days < 730 ? `${days}d` : `${Math.floor(days / 365)}y`;
}

const two = (number) => String(number).padStart(2, "0");

export function moment(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function showTimes(root = document) {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[data-age], time[data-moment]")) {
    const date = new Date(element.dateTime);
    const text = "age" in element.dataset ? shortAge((now - date) / 1000) : moment(date);
    if (element.textContent !== text) element.textContent = text;
    if ("age" in element.dataset && !element.dataset.told) {
      element.title = moment(date);
      element.dataset.told = "1";
    }
  }
}

export function startAges() {
  showTimes();
  document.body.addEventListener("htmx:afterSettle", (event) => showTimes(event.detail.elt));
  setInterval(() => document.hidden || showTimes(), 5000);
}
