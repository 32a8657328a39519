// A few rows of a watch, drawn at random, and the three nearest to each: for a person to see whether they are alike.

import { addressFor } from "../address.js";
import { html, useEffect, useState } from "../html.js";
import { keyText, valueText } from "../formats.js";
import { useSample } from "../map/sample.js";
import { Icon } from "../parts/icons.js";
import { Busy, Empty, Problem } from "../parts/notices.js";
import { Thumbnail } from "../parts/thumbnail.js";
import { shownColumns } from "../search/columns.js";
import { bodyOf, readSearch } from "../search/query.js";
import { postJson } from "../service.js";

const SAMPLED_ROWS = 6;
const NEAREST_ROWS = 3;
const LABEL_CHARS = 200; // as many as the sample's own labels have

// What a row may have become since it was drawn.
const CHANGED = {
  row_not_found: "This row was deleted in the meantime.",
  row_without_vector: "This row has no vector any more: it was changed, and is still to be embedded.",
};

export function Sample({ watch }) {
  const { answer, error, isLoading, load } = useSample(watch, SAMPLED_ROWS);
  const points = answer?.points ?? [];
  return html`<section class="stack" aria-label="Sample" aria-busy=${String(isLoading)}>
    <div class="screen-head">
      <h2>Rows, and what is nearest to each</h2>
      <button class="button small" disabled=${isLoading} onClick=${load}><${Icon} name="retry" />Other rows</button>
    </div>
    <p class="muted">Drawn at random. Rows beside each other should be alike; if they are not, look at the source and the model.</p>
    ${hintOf(watch) && html`<p class="note">${hintOf(watch)}</p>`}
    ${error && html`<${Problem} error=${error} retry=${load} />`}
    ${isLoading && html`<${Busy} label="Drawing rows" />`}
    ${answer && !isLoading && points.length === 0 && html`<${Empty} title="No vectors yet"><p>Rows appear here once they are embedded.</p><//>`}
    ${!isLoading && points.length > 0 && html`<ul class="sample" aria-label="Sampled rows">
      ${points.map((point) => html`<${SampledRow} key=${JSON.stringify(point.key)} watch=${watch} point=${point} />`)}
    </ul>`}
  </section>`;
}

function hintOf(watch) {
  if (watch.kind === "image" && !watch.has_thumbnails) return `Pictures are shown where the watch exposes their column: ${watch.source[0]}.`;
  return watch.columns.length === 0 && !watch.has_thumbnails ? "The watch exposes no column, so that only keys can be shown: sidecar.watch(…, expose => …, replace => true)." : null;
}

function SampledRow({ watch, point }) {
  const { rows, error, load } = useNearest(watch, point.key);
  const name = keyText(point.key);
  return html`<li class="sampled">
    <${Seen} watch=${watch} rowKey=${point.key} label=${point.label}>
      <p><a href=${addressFor("search", { watch: watch.watch, like: JSON.stringify(point.key) })} aria-label=${`More like this: ${name}`}>More like this</a></p>
    <//>
    <div class="nearest">
      ${error && html`<p class="why" role="status">${CHANGED[error.code] ?? error.message}</p>`}
      ${error && !CHANGED[error.code] && html`<p><button class="button small" onClick=${load}><${Icon} name="retry" />Try again</button></p>`}
      ${watch.searchable && rows === null && !error && html`<${Busy} label="Looking for the nearest" />`}
      ${rows?.length === 0 && html`<p class="muted">No other row has a vector.</p>`}
      ${rows?.length > 0 &&
      html`<ol aria-label=${`Nearest to ${name}`}>
        ${rows.map(
          (row) => html`<li key=${JSON.stringify(row.key)}>
            <${Seen} watch=${watch} rowKey=${row.key} label=${labelOf(watch, row)}><p class="figures">distance ${row.distance.toFixed(3)}</p><//>
          </li>`,
        )}
      </ol>`}
    </div>
  </li>`;
}

function Seen({ watch, rowKey, label, children }) {
  return html`<div class="seen">
    ${watch.has_thumbnails && html`<${Thumbnail} watch=${watch} rowKey=${rowKey} size=${192} label="" />`}
    ${label && html`<p class="label">${label}</p>`}
    <p class="muted small">${keyText(rowKey)}</p>
    ${children}
  </div>`;
}

// Of the columns of a found row, what the sample has of its rows.
function labelOf(watch, row) {
  const values = shownColumns(watch).map((name) => row.columns[name]);
  return values.filter((value) => value !== null && value !== undefined).map(valueText).join(", ").slice(0, LABEL_CHARS);
}

function useNearest(watch, key) {
  const [state, setState] = useState({ rows: null, error: null });
  const load = async (signal) => {
    setState({ rows: null, error: null });
    try {
      const body = { ...bodyOf(watch, readSearch(watch, { like: JSON.stringify(key) }, null)), k: NEAREST_ROWS };
      const { results } = await postJson("search", body, signal);
      if (!signal?.aborted) setState({ rows: results, error: null });
    } catch (error) {
      if (!signal?.aborted) setState({ rows: null, error });
    }
  };
  useEffect(() => {
    if (!watch.searchable) return undefined; // why is said above
    const aborting = new AbortController();
    load(aborting.signal);
    return () => aborting.abort();
  }, [watch.watch, watch.searchable]);
  return { ...state, load: () => load() };
}
