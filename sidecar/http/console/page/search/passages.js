// A text with the words of the query marked; a long one is cut around the first of them.

import { cut } from "../formats.js";
import { html } from "../html.js";

const MAX_CHARS = 420;
const CHARS_BEFORE = 120;
const WITHOUT_SPACES = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;

function wordsOf(query) {
  const words = query.toLowerCase().match(/[\p{L}\p{N}]{2,}/gu) ?? [];
  return [...new Set(words)].sort((a, b) => b.length - a.length);
}

function patternOf(query) {
  // A word begins after a space, but in writing that has none.
  const patterns = wordsOf(query).map((word) => (WITHOUT_SPACES.test(word) ? word : `(?<![\\p{L}\\p{N}])${word}`));
  return patterns.length === 0 ? null : new RegExp(`(${patterns.join("|")})`, "giu");
}

function excerpt(text, pattern) {
  if (text.length <= MAX_CHARS) return text;
  const first = pattern === null ? 0 : Math.max(text.search(pattern), 0);
  const earliest = Math.max(first - CHARS_BEFORE, 0);
  const space = earliest === 0 ? -1 : text.indexOf(" ", earliest);
  const start = space !== -1 && space < first ? space + 1 : earliest;
  const end = start + MAX_CHARS;
  return `${start > 0 ? "… " : ""}${cut(text, start, end)}${end < text.length ? " …" : ""}`;
}

export function Passage({ text, query }) {
  const pattern = patternOf(query);
  const cut = excerpt(text, pattern);
  if (pattern === null) return cut;
  return cut.split(pattern).map((part, index) => (index % 2 ? html`<mark>${part}</mark>` : part));
}
