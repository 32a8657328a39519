// The rows: each watch with what is done and what is left, and the last hour in charts.

import { html } from "../html.js";
import { Busy, Empty, Problem, Warning } from "../parts/notices.js";
import { Charts } from "./charts.js";
import { nameOf, useStatus } from "./status.js";
import { WatchCard } from "./watch_card.js";

export function RowsScreen() {
  const { status, error, isOld, samples, trouble, load, retry } = useStatus();
  const newest = samples.at(-1);
  return html`
    <h1 class="offscreen">Rows</h1>
    ${error && html`<${Problem} error=${error} retry=${retry} />`}
    ${!error && trouble && html`<${Warning}>No live figures at the moment. ${trouble.message}<//>`}
    ${status === null && !error && html`<${Busy} label="Reading the state" />`}
    ${status && html`<${Overview} status=${status} isOld=${isOld} />`}
    ${status?.watches?.length === 0 && html`<${Empty} title="Nothing is watched yet"><p>Each table that is watched has its rows here: <a href="#/add">add one</a>.</p><//>`}
    ${status?.watches?.length > 0 &&
    html`<ul class="watches" aria-label="Watches">
      ${status.watches.map((watch) => html`<${WatchCard} key=${watch.watch_id} watch=${watch} sample=${newest?.watches[nameOf(watch)]} onChanged=${load} />`)}
    </ul>`}
    ${samples.length > 1 && html`<${Charts} samples=${samples} />`}
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
