// Looks for a regular expression in lines, where an expression that takes for ever holds up nobody: its page ends it.
const MOST_MATCHES = 50;

// Ranges [from, to] of the matches in one line.
function ranges(pattern, line) {
  const places = [];
  for (const match of line.matchAll(pattern)) {
    places.push([match.index, match.index + match[0].length]);
    if (places.length === MOST_MATCHES) break;
  }
  return places;
}

addEventListener("message", ({ data: { source, lines, number } }) => {
  const pattern = new RegExp(source, "gi");
  postMessage({ number, results: lines.map((line) => ranges(pattern, line)) });
});
postMessage({ ready: true });
