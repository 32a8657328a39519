// The rows: each watch with what is done and what is left, and the last hour in charts.

import { html, useCallback, useEffect, useState } from "../html.js";
import { useLive } from "../live.js";
import { Busy, Empty, Problem, Warning } from "../parts/notices.js";
import { getJson } from "../service.js";
import { Charts } from "./charts.js";
import { WatchCard } from "./watch_card.js";

export function RowsScreen() {
  const live = useLive();
  const [read, setRead] = useState({ status: null, error: null });
  const load = useCallback(async () => {
    try {
      setRead({ status: await getJson("status"), error: null });
    } catch (error) {
      setRead({ status: null, error });
    }
  }, []);
  useEffect(() => void load(), []);
  useEffect(() => {
    if (live.status !== null) setRead({ status: live.status, error: null });
  }, [live.status]);
  const retry = () => (load(), live.retry());
  const { status } = read;
  const newest = live.samples.at(-1);
  return html`
    <h1 class="offscreen">Rows</h1>
    ${read.error && html`<${Problem} error=${read.error} retry=${retry} />`}
    ${!read.error && live.trouble && html`<${Warning}>No live figures at the moment. ${live.trouble.message}<//>`}
    ${status === null && !read.error && html`<${Busy} label="Reading the state" />`}
    ${status && html`<${Overview} status=${status} isOld=${Boolean(live.trouble)} />`}
    ${status?.watches?.length === 0 && html`<${Empty} title="Nothing is watched yet"><p>Each table that is watched has its rows here: <a href="#/search">how to begin</a>.</p><//>`}
    ${status?.watches?.length > 0 &&
    html`<ul class="watches" aria-label="Watches">
      ${status.watches.map((watch) => html`<${WatchCard} key=${watch.watch_id} watch=${watch} sample=${newest?.watches[`${watch.relation}.${watch.target}`]} onChanged=${load} />`)}
    </ul>`}
    ${live.samples.length > 1 && html`<${Charts} samples=${live.samples} />`}
  `;
}

function Overview({ status, isOld }) {
  const facts = [
    ["model", status.model?.id ?? status.status],
    ["ingest", status.ingest],
    ["rerank", status.rerank],
    ["database", status.database_gone_since ? `gone since ${new Date(status.database_gone_since).toLocaleTimeString()}` : status.database],
    ["version", status.version],
  ];
  const broken = status.devices.filter((device) => device.trouble !== null);
  return html`<section class="overview" aria-label="State of the service">
    <p class="headline" role="status"><span class=${`dot ${isOld ? "unknown" : (status.health ?? "problem")}`} aria-hidden="true"></span>${isOld && "When last read: "}${status.summary ?? status.database_detail ?? status.status}</p>
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${status.database === "unavailable" && html`<${Warning}>The database cannot be read: ${status.database_detail}. The service tries again by itself.<//>`}
    ${broken.map((device) => html`<${Warning} key=${device.device}>${device.device}: ${device.trouble}<//>`)}
  </section>`;
}
