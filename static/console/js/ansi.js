// Log text for a page: colours of SGR sequences as classes, every other escape taken out, control characters made visible.

// CSI, OSC (up to BEL or ST), other strings (DCS, SOS, PM, APC), and two-character escapes; also their 8-bit forms.
const ESCAPES = /(?:\x1b\[|\x9b)([0-9:;<=>?]*)[ -/]*([@-~])|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c|$)|\x1b[ -/]*[0-~]/g;
const HIDDEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/g;

export function visible(text) {
  return text.replace(HIDDEN, (letter) => {
    const code = letter.charCodeAt(0);
    if (code < 32) return String.fromCharCode(0x2400 + code);
    return code === 127 ? "\u2421" : "\ufffd";
  });
}

function styled(state, codes) {
  for (let place = 0; place < codes.length; place += 1) {
    const code = codes[place];
    if (code === 0) state = { colour: "", bold: false };
    else if (code === 1) state = { ...state, bold: true };
    else if (code === 22) state = { ...state, bold: false };
    else if (code === 39) state = { ...state, colour: "" };
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) state = { ...state, colour: `ansi-${code % 10}` };
    else if (code === 38 || code === 48) place += codes[place + 1] === 5 ? 2 : 4;
  }
  return state;
}

// Pieces {text, style} of one line; `text` without any escape.
export function pieces(line) {
  const plain = line.endsWith("\r") ? line.slice(0, -1) : line;
  if (!/[\x1b\x80-\x9f]/.test(plain)) return [{ text: visible(plain), style: "" }];
  const parts = [];
  let state = { colour: "", bold: false };
  let from = 0;
  const add = (end) => {
    if (end > from) parts.push({ text: visible(plain.slice(from, end)), style: `${state.colour}${state.bold ? " ansi-bold" : ""}`.trim() });
  };
  for (const match of plain.matchAll(ESCAPES)) {
    add(match.index);
    from = match.index + match[0].length;
    if (match[2] === "m") state = styled(state, (match[1] || "0").split(/[;:]/).map(Number));
  }
  add(plain.length);
  return parts;
}
