// A random sample of the rows of a watch, as points of the map.

import { useEffect, useRef, useState } from "../html.js";
import { getJson } from "../service.js";

// `load` draws another one.
export function useSample(watch, rows) {
  const [state, setState] = useState({ answer: null, error: null, isLoading: true });
  const running = useRef(null); // the newest request wins
  const load = async () => {
    running.current?.abort();
    const { signal } = (running.current = new AbortController());
    setState((now) => ({ ...now, error: null, isLoading: true }));
    try {
      const answer = await getJson("map", { table: watch.table, target: watch.target, rows }, signal);
      if (!signal.aborted) setState({ answer, error: null, isLoading: false });
    } catch (error) {
      if (!signal.aborted) setState({ answer: null, error, isLoading: false });
    }
  };
  useEffect(() => {
    load();
    return () => running.current.abort();
  }, [watch.watch, rows]);
  return { ...state, load };
}
