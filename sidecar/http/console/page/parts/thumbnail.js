// The picture of a row, fetched with the key once it comes into view.

import { html, useEffect, useRef, useState } from "../html.js";
import { ask } from "../service.js";
import { Icon } from "./icons.js";

const ATTEMPTS = 4;
const WAIT_S = 1; // where the service names no time
const PASSES = [0, 429, 503]; // no answer, too many requests, too busy

// `path` is that of the endpoint: rows that failed have one of their own, for another scope.
export function Thumbnail({ watch, rowKey, size = 192, label, path = "thumbnail" }) {
  const element = useRef(null);
  const [source, setSource] = useState(null);
  const [missing, setMissing] = useState(null);
  const wanted = JSON.stringify([watch.table, watch.target, rowKey, size]);
  useEffect(() => {
    setSource(null);
    setMissing(null);
    let address = null;
    const aborting = new AbortController();
    let timer = null;
    const load = async (attempt) => {
      try {
        const query = { table: watch.table, target: watch.target, key: JSON.stringify(rowKey), size };
        const answer = await ask(path, { query, signal: aborting.signal });
        const picture = await answer.blob();
        if (aborting.signal.aborted) return;
        address = URL.createObjectURL(picture);
        setSource(address);
      } catch (error) {
        if (aborting.signal.aborted) return;
        if (attempt < ATTEMPTS && PASSES.includes(error.status)) timer = setTimeout(() => load(attempt + 1), 1000 * (error.retryAfterS ?? WAIT_S));
        else setMissing(error.message);
      }
    };
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      load(1);
    }, { rootMargin: "300px" });
    observer.observe(element.current);
    return () => {
      observer.disconnect();
      clearTimeout(timer);
      aborting.abort();
      if (address !== null) URL.revokeObjectURL(address);
    };
  }, [wanted]);
  return html`<div class=${source ? "thumbnail" : "thumbnail waiting"} ref=${element} title=${missing}>
    ${source && html`<img src=${source} alt=${label} />`}
    ${missing && html`<span class="missing"><${Icon} name="picture" /><span class="offscreen">No picture: ${missing}</span></span>`}
  </div>`;
}
