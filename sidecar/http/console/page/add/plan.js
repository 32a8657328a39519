// What a watch would take: rows as they are, time, disk, memory; and the statement that starts it.

import { html } from "../html.js";
import { bytes, count, duration, keyText, percent } from "../formats.js";
import { CodeBlock } from "../parts/code.js";
import { Warning } from "../parts/notices.js";

const LONG_SWEEP_S = 60;

export function Plan({ plan }) {
  return html`
    ${plan.refusal && html`<${Warning}><p>It would be refused: ${plan.refusal.message}. ${plan.refusal.hint}</p><//>`}
    ${plan.long_text_share > 0 &&
    html`<${Warning}><p>About ${percent(plan.long_text_share)} of the texts are longer than the model reads (${plan.context_length} tokens, some ${count(Math.round(plan.context_length * 0.4) * 10)} letters): their ends will not count.</p><//>`}
    <section aria-label="Preview" class="stack">
      <h2>Rows</h2>
      ${plan.preview.length === 0 && html`<p class="muted">No row can be shown.</p>`}
      <ul class="preview">${plan.preview.map((row, number) => html`<${Row} key=${number} row=${row} kind=${plan.kind} />`)}</ul>
    </section>
    <section aria-label="Plan" class="stack">
      <h2>What it takes</h2>
      <dl class="plan-facts">${factsOf(plan).map(([name, value, about]) => html`<div key=${name}><dt>${name}</dt><dd>${value}${about && html`<span class="muted"> ${about}</span>`}</dd></div>`)}</dl>
      ${plan.device_s === null && plan.typical_devices.length > 0 && html`<${Devices} devices=${plan.typical_devices} kind=${plan.kind} />`}
    </section>
    <${CodeBlock} title="SQL that starts the watch" text=${plan.sql} note=${`To be run by ${plan.owner}, who owns the table. The console changes nothing.`} />
  `;
}

function Row({ row, kind }) {
  return html`<li>
    <span class="key muted">${keyText(row.key)}</span>
    <span class="content" dir="auto">${contentOf(row, kind)}</span>
    <span class="muted">${row.bytes === null ? "" : bytes(row.bytes)}</span>
  </li>`;
}

function contentOf(row, kind) {
  if (row.bytes === null) return html`<span class="muted">nothing to embed</span>`;
  if (kind === "text") return row.text;
  const size = row.width === null ? "" : `, ${row.width} × ${row.height}`;
  return row.format === null ? "no picture that is known" : `${row.format}${size}`;
}

function factsOf(plan) {
  const about = plan.estimated ? "about " : "";
  const memory = plan.index_memory;
  const facts = [
    ["Rows", `${about}${count(plan.rows)}`, `${count(plan.rows_to_embed)} with something to embed`],
    ["Time", plan.rows_to_embed === 0 ? "nothing to embed yet" : plan.device_s === null ? "not known yet" : duration(plan.device_s), deviceAbout(plan)],
    ["Disk", `${bytes(plan.disk_bytes)} more`, `vectors ${bytes(plan.vector_bytes)}, index ${bytes(plan.index_bytes)}, ledger ${bytes(plan.ledger_bytes)}, row versions ${bytes(plan.rewritten_bytes)}`],
    ["To keep free", bytes(plan.headroom_bytes), "to rebuild the index"],
    ["WAL", bytes(plan.wal_bytes), "of the first filling"],
  ];
  if (plan.index === "other") facts.push(["Index", "not estimated", "only HNSW without options is"]);
  if (memory !== null && plan.rows_to_embed > 0) {
    facts.push(["Index build", duration(memory.build_s), `with ${bytes(memory.maintenance_work_mem_bytes)} of maintenance_work_mem; ${bytes(plan.graph_bytes)} would hold it all`]);
    if (memory.partitions > 1) facts.push(["Partitions", count(memory.partitions), "so that each index fits into memory, or set effective_cache_size to what the machine has"]);
  }
  if (plan.sweep_s >= LONG_SWEEP_S) facts.push(["Sweep", duration(plan.sweep_s), "for each pass over the table"]);
  return facts;
}

function deviceAbout(plan) {
  if (plan.rows_to_embed === 0) return "";
  const views = plan.kind === "image" ? `${count(plan.views)} views, ${plan.views_per_row.toFixed(1)} of each picture; ` : "";
  return plan.views_per_s === null ? `${views}no running sidecar has measured its rate` : `${views}at ${rateOf(plan.kind, plan.views_per_s)}`;
}

function Devices({ devices, kind }) {
  return html`<div class="stack">
    <p class="muted">On other devices, with the default model:</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Time on other devices">
      <table class="device-times">
        <thead><tr><th scope="col">Device</th><th scope="col">Time</th><th scope="col">Rate</th></tr></thead>
        <tbody>${devices.map((each) => html`<tr key=${each.device}><th scope="row">${each.device}</th><td>${duration(each.device_s)}</td><td>${rateOf(kind, each.views_per_s)}</td></tr>`)}</tbody>
      </table>
    </div>
  </div>`;
}

function rateOf(kind, perS) {
  return `${perS >= 10 ? count(perS) : perS.toPrecision(2)} ${kind === "text" ? "texts" : "views"}/s`;
}
