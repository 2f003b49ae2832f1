// The level of a log line: "error", "warn", "info", "debug", or "" where it says none.
const WORDS = {
  error: "emergency emerg alert fatal critical crit panic dpanic severe error err eror fail",
  warn: "warning warn",
  info: "notice information info log",
  debug: "debug dbug trce config fine finer finest trace verbose",
};
const LEVELS = new Map(Object.entries(WORDS).flatMap(([level, words]) => words.split(" ").map((word) => [word, level])));
const KLOG = { I: "info", W: "warn", E: "error", F: "error" };
const LETTERS = { ...KLOG, D: "debug", T: "debug", V: "debug", C: "error" };
// Members of structured lines, as libraries write them.
const MEMBERS = ["level", "severity", "lvl", "log.level", "loglevel", "logLevel", "levelname", "level_name", "@l", "Level"];
const LONGEST_JSON = 64 * 1024;
// Plain words stand at the beginning of a line, behind times, names and brackets.
const HEAD = 160;

function word(text) {
  return LEVELS.get(String(text).toLowerCase()) ?? "";
}

// pino and bunyan write 10 (trace) to 60 (fatal); syslog 0 (emergency) to 7 (debug).
function numbered(number) {
  if (number >= 50) return "error";
  if (number >= 40) return "warn";
  if (number >= 30) return "info";
  if (number >= 10) return "debug";
  return prioritised(number);
}

function prioritised(number) {
  if (number <= 3) return "error";
  if (number === 4) return "warn";
  return number <= 6 ? "info" : "debug";
}

function ofValue(value) {
  if (typeof value === "number") return numbered(value);
  if (typeof value !== "string") return "";
  if (/^\d{1,2}$/.test(value)) return numbered(Number(value));
  return word(value) || (value.length === 1 ? (LETTERS[value.toUpperCase()] ?? "") : "");
}

function ofJson(text) {
  let entry;
  try {
    entry = text.length <= LONGEST_JSON ? JSON.parse(text) : null;
  } catch {
    entry = null;
  }
  if (entry && typeof entry === "object") {
    for (const name of MEMBERS) {
      const level = Object.hasOwn(entry, name) ? ofValue(entry[name]) : "";
      if (level) return level;
    }
    // Elastic's common schema: {"log": {"level": …}}.
    return ofValue(entry.log?.level);
  }
  // A line that the runtime has cut in two is no JSON any more.
  const member = /"(?:level|severity|lvl|log\.level|levelname)"\s*:\s*"?([A-Za-z]+|\d+)/.exec(text.slice(0, 4096));
  return member ? ofValue(member[1]) : "";
}

export function levelOf(line) {
  const text = line.trimStart();
  if (text.startsWith("{")) {
    const level = ofJson(text);
    if (level) return level;
  }
  const klog = /^([IWEF])\d{4} \d{2}:\d{2}:\d{2}/.exec(text);
  if (klog) return KLOG[klog[1]];
  const pair = /(?:^|[\s,{])(?:level|lvl|severity|loglevel|log\.level)=["']?([A-Za-z]+|\d{1,2})\b/i.exec(text.slice(0, 4096));
  if (pair && ofValue(pair[1])) return ofValue(pair[1]);
  const syslog = /^<(\d{1,3})>/.exec(text);
  if (syslog) return prioritised(Number(syslog[1]) % 8);
  if (/^(?:Traceback \(most recent call last\)|panic: |Exception in thread |Unhandled exception|fatal error: )/.test(text)) return "error";
  return plain(text.slice(0, HEAD));
}

// "ERROR" anywhere in the head; "error" only where it stands as a mark, not in a sentence.
function plain(head) {
  const shouted = /(?<![A-Za-z0-9_/=.-])(EMERGENCY|EMERG|ALERT|FATAL|CRITICAL|CRIT|PANIC|DPANIC|SEVERE|ERROR|ERR|WARNING|WARN|NOTICE|INFORMATION|INFO|LOG|CONFIG|DEBUG|FINEST|FINER|FINE|TRACE|VERBOSE)(?![A-Za-z0-9_/=]|-[A-Z])/.exec(head);
  if (shouted) return word(shouted[1]);
  const bracketed = /[[<(|]\s*([A-Za-z]{3,11})\s*[\]>)|]/g;
  for (const match of head.matchAll(bracketed)) if (word(match[1])) return word(match[1]);
  // After at most a time: "12:00:01 warning: …", "Error: …", "warn - …".
  const first = /^[\d\-/:.,TZ+\s[\]]*([A-Za-z]{3,11})(?::|\s+-\s|\t)/.exec(head);
  if (first && word(first[1])) return word(first[1]);
  // One letter between bars or behind a time.
  const letter = /^(?:[\d\-/:.,TZ+\s]+\s)?\[?([DIWEFTVC])[\]/]?(?:[\s,:][^a-z]|\/)/.exec(head);
  return letter ? LETTERS[letter[1]] : "";
}
