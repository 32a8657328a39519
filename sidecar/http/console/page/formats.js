// Numbers, times and keys as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const PRECISE = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const UNITS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
];

export function count(number) {
  return number === null || number === undefined ? "–" : WHOLE.format(number);
}

export function shortCount(number) {
  return number < 10_000 ? WHOLE.format(number) : SHORT.format(number);
}

// A number per second, of which a small one is not none: 0.4, 2.5, 1,200.
export function perSecond(number) {
  if (number === null || number === undefined) return "–";
  return number < 100 ? PRECISE.format(number) : shortCount(number);
}

export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

// Seconds as 12 ms, 3.4 s, 5 min or 2 h.
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.5) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const [size, unit] = UNITS.find(([each]) => seconds >= 0.9915 * each);
  return `${Math.round(seconds / size)} ${unit}`;
}

export function milliseconds(number) {
  return number < 10 ? `${number.toFixed(1)} ms` : `${Math.round(number)} ms`;
}

// A small share is not none: below what the digits can show it is "<1 %".
export function percent(share, digits = 0) {
  const least = 10 ** -digits;
  if (share > 0 && share * 100 < least) return `<${least.toFixed(digits)} %`;
  return `${(share * 100).toFixed(digits)} %`;
}

// The key of a row in one line: id 7, or tenant 3 · id 7.
export function keyText(key) {
  return Object.entries(key)
    .map(([name, value]) => `${name} ${valueText(value)}`)
    .join(" · ");
}

export function valueText(value) {
  if (value === null || value === undefined) return "NULL";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// A part of a text, in which no character is cut in two.
export function cut(text, start, end) {
  const isHalf = (at) => at > 0 && at < text.length && /[\udc00-\udfff]/.test(text[at]) && /[\ud800-\udbff]/.test(text[at - 1]);
  return text.slice(isHalf(start) ? start - 1 : start, isHalf(end) ? end - 1 : end);
}

// Bytes as 12 KB or 3.4 GB.
export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const exponent = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), 4);
  const size = number / 1024 ** exponent;
  return `${exponent === 0 || size >= 99.95 ? Math.round(size) : size.toFixed(1)} ${[number === 1 ? "byte" : "bytes", "KB", "MB", "GB", "TB"][exponent]}`;
}
