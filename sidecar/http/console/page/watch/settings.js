// What a watch was told, and what the service made of it.

import { html } from "../html.js";
import { count, perSecond } from "../formats.js";

const INDEXES = { halfvec: "HNSW, on halfvec", vector: "HNSW, on vector", none: "none is asked for" };

export function Settings({ watch, row }) {
  const facts = factsOf(watch, row).filter(([, value]) => value !== undefined);
  return html`<section class="watch" aria-label="Settings">
    <h2>Settings</h2>
    <dl class="plan-facts">
      ${facts.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}
    </dl>
  </section>`;
}

// A value is undefined where the key does not tell it.
function factsOf(watch, row) {
  const { kind, source, target, companion, storage, model } = watch ?? row;
  return [
    ["Embeds", `${kind === "image" ? "pictures" : "texts"} of ${source.join(", ")}`],
    ["Key", watch?.key_columns.join(", ")],
    ["Vectors", companion === null ? `${target}, in the table itself` : `${target}, in the companion ${companion}`],
    ["View", row?.companion_view ?? undefined],
    ["Stored as", watch ? `${storage}, ${count(watch.dimensions)} dimensions` : storage],
    ["Index", watch && (INDEXES[watch.index] ?? watch.index)],
    ["Built", row && (row.index ?? "none")],
    ["Model", model ?? "none yet"],
    ["Asks for", watch && (watch.required_model ?? "any model of these dimensions")],
    ["Exposes", watch && exposedText(watch)],
    ["Rate", row && (row.rows_per_s === null ? "no limit" : `at most ${perSecond(row.rows_per_s)} rows/s`)],
    ["Paused", watch && (watch.paused ? "yes" : "no")],
    ["Too long", row && row.truncated > 0 ? `${count(row.truncated)} texts are longer than the model reads` : undefined],
    ["Not understood", row && row.unreadable > 0 ? `of ${count(row.unreadable)} texts the model knows hardly a word` : undefined],
    ["Number", row?.watch_id],
  ];
}

function exposedText(watch) {
  const columns = watch.columns.map(({ name, type }) => `${name} (${type})`);
  if (watch.has_thumbnails) columns.push(`${watch.source[0]} (as a picture)`);
  return columns.length > 0 ? columns.join(", ") : "no column but the key";
}
