// A search as the page's address has it, and the body of the request that it becomes.

import { namingColumn, shownColumns, wordColumns } from "./columns.js";
import { filterOf, readConditionsOf } from "./filters.js";

export const PAGE_ROWS = 24;
export const VARIETY = 0.5; // of 0 to 1: halfway between the nearest rows and the most different ones

// `picture` is {name, address}, a data URI; it is too large for an address, and stays in memory.
// `unfit`: columns of conditions that the watch cannot apply.
export function readSearch(watch, fields, picture) {
  const [conditions, unfit] = readConditionsOf(watch, fields.filter ?? "[]");
  return {
    text: fields.text ?? "",
    like: readKey(fields.like),
    conditions,
    unfit,
    hybrid: fields.hybrid === "1",
    rerank: fields.rerank === "1",
    varied: fields.varied === "1",
    picture,
  };
}

function readKey(written) {
  try {
    const key = JSON.parse(written);
    return typeof key === "object" ? key : null;
  } catch {
    return null;
  }
}

export function isEmpty(search) {
  return search.text.trim() === "" && search.like === null && search.picture === null;
}

export function takesWords(watch, search) {
  return search.text.trim() !== "" && wordColumns(watch).length > 0;
}

export function takesReranking(watch, search) {
  return search.text.trim() !== "" && namingColumn(watch) !== undefined;
}

// The body of POST /search, for the first rows.
export function bodyOf(watch, search) {
  const text = search.text.trim();
  const body = { table: watch.table, target: watch.target, ...queryOf(search, text), k: PAGE_ROWS };
  const columns = shownColumns(watch);
  if (columns.length < watch.columns.length) body.columns = columns;
  const filter = filterOf(watch, search.conditions);
  if (Object.keys(filter).length > 0) body.filter = filter;
  const ownText = body.text === undefined ? { text } : {};
  if (search.hybrid && takesWords(watch, search)) body.hybrid = { columns: wordColumns(watch), ...ownText };
  if (search.rerank && takesReranking(watch, search)) body.rerank = { column: rerankColumn(watch), ...ownText };
  if (search.varied) body.diversity = VARIETY;
  return body;
}

function queryOf(search, text) {
  const parts = [];
  if (search.like !== null) parts.push({ key: search.like });
  if (search.picture !== null) parts.push({ image: search.picture.address });
  if (text !== "") parts.push({ text });
  return parts.length === 1 && search.like === null ? parts[0] : { query: parts };
}

function rerankColumn(watch) {
  const [source] = watch.source;
  return watch.kind === "text" && watch.columns.some((column) => column.name === source) ? source : namingColumn(watch);
}

// What of the request changes for more rows; null if there are none. Reordered results are asked for as a whole: with more
// candidates to order, the first ones change, too.
export function nextPage(request, answer) {
  if (answer.next !== null) return { after: answer.next };
  const isReordered = request.hybrid || request.rerank || request.diversity;
  return isReordered && answer.results.length === request.k ? { k: request.k + PAGE_ROWS } : null;
}
