// The charts of the last hour: lag, backlog, rows, device, queries.

import { html, useMemo } from "../html.js";
import { count, duration, percent, perSecond, shortCount } from "../formats.js";
import { Chart } from "./chart.js";

const MAX_WATCHES = 4; // lines that eyes can follow
const LANES = ["query", "rerank", "ingest", "backfill", "bulk"];

export function Charts({ samples }) {
  const made = useMemo(() => seriesOf(samples), [samples]);
  const seconds = (value) => duration(value);
  const some = made.left > 0 ? `; the ${MAX_WATCHES} that have most to do, of ${count(MAX_WATCHES + made.left)} watches` : "";
  return html`<section class="charts" aria-label="The last hour">
    <${Chart} title="Commit to vector" about=${`How long a changed row waits: p50 dashed, p95 solid${some}`} times=${made.times} series=${made.lag} format=${seconds} />
    <${Chart} title="Backlog" about=${`Rows that wait for their vector${some}`} times=${made.times} series=${made.pending} format=${(value) => (value === null ? "–" : shortCount(value))} />
    <${Chart} title="Rows per second" about=${`Vectors written${some}`} times=${made.times} series=${made.rows} format=${perSecond} />
    <${Chart} title="Device time" about="Share of the time that each lane has had" times=${made.times} series=${made.device} format=${(value) => (value === null ? "–" : percent(value))} share=${true} />
    <${Chart} title="Query latency" about="From request to answer: p50 dashed, p95 solid" times=${made.times} series=${made.queries} format=${seconds} />
    <${Chart} title="Queries per second" about="Texts, pictures and searches that were asked for" times=${made.times} series=${made.asked} format=${perSecond} />
  </section>`;
}

function seriesOf(samples) {
  const newest = samples.at(-1);
  const [watches, left] = busiest(newest?.watches ?? {});
  const lanes = Object.keys(newest?.lanes ?? {}).sort((a, b) => LANES.indexOf(a) - LANES.indexOf(b));
  const column = (read) => samples.map((sample) => read(sample) ?? null);
  const ofWatch = (field) => watches.map((name, colour) => ({ label: shortName(name), colour, values: column(({ watches: all }) => all[name]?.[field]) }));
  return {
    left,
    times: column((sample) => sample.at),
    lag: watches.flatMap((name, colour) => [
      { label: shortName(name), colour, values: column(({ watches: all }) => all[name]?.lag_p95_s) },
      { label: `${shortName(name)} p50`, colour, dashed: true, values: column(({ watches: all }) => all[name]?.lag_p50_s) },
    ]),
    pending: ofWatch("pending"),
    rows: ofWatch("rows_per_s"),
    device: lanes.map((name, colour) => ({ label: name, colour, values: column(({ lanes: all }) => all?.[name]?.device_share) })),
    queries: [
      { label: "p95", colour: 0, values: column(({ queries }) => queries?.p95_s) },
      { label: "p50", colour: 0, dashed: true, values: column(({ queries }) => queries?.p50_s) },
    ],
    asked: [{ label: "queries", colour: 0, values: column(({ queries }) => queries?.per_s) }],
  };
}

// The names of those watches that have most to do, and the number of the others.
function busiest(all) {
  const names = Object.keys(all);
  const chosen = new Set(names.toSorted((a, b) => (all[b].pending ?? 0) - (all[a].pending ?? 0)).slice(0, MAX_WATCHES));
  return [names.filter((name) => chosen.has(name)), names.length - chosen.size];
}

function shortName(name) {
  return name.replace(/^public\./, "");
}
