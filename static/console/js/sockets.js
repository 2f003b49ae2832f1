// Tickets, sockets and requests: what the pages of logs, terminals and files share.

export function csrf() {
  try {
    return JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"] || "";
  } catch {
    return "";
  }
}

// What the server refused: `message`, `hint`, `status`, `details`.
export class RequestError extends Error {
  constructor(status, body) {
    super(body.message || "");
    this.status = status;
    this.hint = body.hint || "";
    this.code = body.code || 0;
    this.details = body.details || {};
  }
}

export async function post(address, body) {
  return answerOf(
    await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrf() },
      body: JSON.stringify(body),
    }),
  );
}

// `query` values that are undefined are left out; `signal` ends the request.
export async function get(address, query = {}, signal = undefined) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, value);
  return answerOf(await fetch(`${address}?${parameters}`, { signal }));
}

async function answerOf(response) {
  let data = {};
  try {
    data = await response.json();
  } catch {
    // A proxy's page, or nothing: the status says enough.
  }
  if (!response.ok) throw new RequestError(response.status, { message: `HTTP ${response.status}`, ...data });
  return data;
}

// 1, 2, 4 … 30 seconds, a little apart for each page.
export class Backoff {
  constructor() {
    this.tries = 0;
  }
  next() {
    const seconds = Math.min(2 ** this.tries, 30);
    this.tries += 1;
    return seconds * (0.85 + Math.random() * 0.3);
  }
  reset() {
    this.tries = 0;
  }
}

export function data(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// "{count} lines" with what is to stand in the braces; everything is text, nothing is HTML.
export function fill(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "").trim();
}
