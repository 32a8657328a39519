// What a watch's columns are good for: which of them are shown, searched for words, or name a row.

const TEXT = /^(text|character|citext|name$)/;
const NAMING = ["title", "name", "label", "caption", "headline", "subject", "filename"];
const MAX_WORD_COLUMNS = 32; // what the service takes

export function isText(column) {
  return TEXT.test(column.type) && !column.type.endsWith("[]");
}

// Without raw bytes: pictures come as thumbnails.
export function shownColumns(watch) {
  return watch.columns.filter((column) => column.type !== "bytea").map((column) => column.name);
}

export function textColumns(watch) {
  return watch.columns.filter(isText).map((column) => column.name);
}

// The column whose value heads a result; undefined if there is no text.
export function namingColumn(watch) {
  const names = textColumns(watch);
  return NAMING.find((name) => names.includes(name)) ?? names[0];
}

// Where full text is looked for: one tsvector, or the texts.
export function wordColumns(watch) {
  const vectors = watch.columns.filter((column) => column.type === "tsvector").map((column) => column.name);
  if (vectors.length > 0) return vectors.slice(0, 1);
  const sources = watch.kind === "text" ? watch.source.filter((name) => textColumns(watch).includes(name)) : [];
  return (sources.length > 0 ? sources : textColumns(watch)).slice(0, MAX_WORD_COLUMNS);
}

// Key columns first: a filter may name them, too.
export function filterColumns(watch) {
  const known = new Map(watch.columns.map((column) => [column.name, column]));
  const keys = watch.key_columns.map((name) => known.get(name) ?? { name, type: "", comparable: true });
  const others = watch.columns.filter((column) => column.comparable && !watch.key_columns.includes(column.name));
  return [...keys, ...others];
}
