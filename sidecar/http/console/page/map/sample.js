// A random sample of the rows of a watch, as points of the map.

import { useEffect, useState } from "../html.js";
import { getJson } from "../service.js";

// `load` draws another one.
export function useSample(watch, rows) {
  const [state, setState] = useState({ answer: null, error: null, isLoading: true });
  const load = async (signal) => {
    setState((now) => ({ ...now, error: null, isLoading: true }));
    try {
      const answer = await getJson("map", { table: watch.table, target: watch.target, rows }, signal);
      if (!signal?.aborted) setState({ answer, error: null, isLoading: false });
    } catch (error) {
      if (!signal?.aborted) setState({ answer: null, error, isLoading: false });
    }
  };
  useEffect(() => {
    const aborting = new AbortController();
    load(aborting.signal);
    return () => aborting.abort();
  }, [watch.watch, rows]);
  return { ...state, load: () => load() };
}
