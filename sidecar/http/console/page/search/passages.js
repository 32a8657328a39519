// A text with the words of the query marked; a long one is cut around the first of them.

import { html } from "../html.js";

const MAX_CHARS = 420;
const CHARS_BEFORE = 120;

function wordsOf(query) {
  const words = query.toLowerCase().match(/[\p{L}\p{N}]{2,}/gu) ?? [];
  return [...new Set(words)].sort((a, b) => b.length - a.length);
}

function patternOf(query) {
  const words = wordsOf(query);
  return words.length === 0 ? null : new RegExp(`(?<![\\p{L}\\p{N}])(${words.join("|")})`, "giu");
}

function excerpt(text, pattern) {
  if (text.length <= MAX_CHARS) return text;
  const first = pattern === null ? 0 : Math.max(text.search(pattern), 0);
  const start = first <= CHARS_BEFORE ? 0 : text.indexOf(" ", first - CHARS_BEFORE) + 1;
  const end = start + MAX_CHARS;
  return `${start > 0 ? "… " : ""}${text.slice(start, end)}${end < text.length ? " …" : ""}`;
}

export function Passage({ text, query }) {
  const pattern = patternOf(query);
  const cut = excerpt(text, pattern);
  if (pattern === null) return cut;
  return cut.split(pattern).map((part, index) => (index % 2 ? html`<mark>${part}</mark>` : part));
}
