// A random sample of the rows of a watch, as points of the map.

import { useAnswer } from "../parts/answer.js";
import { getJson } from "../service.js";

// `load` draws another one.
export function useSample(watch, rows) {
  const query = { table: watch.table, target: watch.target, rows };
  return useAnswer(`${watch.watch} ${rows}`, (signal) => getJson("map", query, signal));
}
