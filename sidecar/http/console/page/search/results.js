// What a search found: pictures in a grid, texts as cards.

import { html, useEffect, useState } from "../html.js";
import { cut, keyText, percent, valueText } from "../formats.js";
import { Dialog } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";
import { Thumbnail } from "../parts/thumbnail.js";
import { namingColumn } from "./columns.js";
import { Passage } from "./passages.js";

export function Results({ watch, search, answer, rows, onLike }) {
  const [opened, setOpened] = useState(null);
  useEffect(() => setOpened(null), [location.hash]); // Back closes it: it is of the search before
  const Result = watch.kind === "image" ? PictureResult : TextResult;
  return html`
    <ol class=${watch.kind === "image" ? "grid" : "cards"} aria-label="Results">
      ${rows.map(
        (row) => html`<${Result}
          key=${JSON.stringify(row.key)}
          watch=${watch}
          row=${row}
          query=${search.text}
          isCalibrated=${answer.match_probability_calibrated === true}
          onOpen=${() => setOpened(row)}
          onLike=${() => onLike(row.key)}
        />`,
      )}
    </ol>
    ${opened &&
    html`<${RowDialog} watch=${watch} row=${opened} isCalibrated=${answer.match_probability_calibrated === true} onClose=${() => setOpened(null)} onLike=${() => (setOpened(null), onLike(opened.key))} />`}
  `;
}

// What a row has of a column; undefined if the answer has none. A column may be called constructor.
function valueOf(row, column) {
  return Object.hasOwn(row.columns, column) ? row.columns[column] : undefined;
}

function titleOf(watch, row) {
  const value = valueOf(row, namingColumn(watch));
  return value === null || value === undefined || value === "" ? keyText(row.key) : valueText(value);
}

function PictureResult({ watch, row, isCalibrated, onOpen, onLike }) {
  const title = titleOf(watch, row);
  return html`<li class="picture-result">
    <button class="open" onClick=${onOpen} aria-label=${`${title}: all of the row`}>
      ${watch.has_thumbnails ? html`<${Thumbnail} watch=${watch} rowKey=${row.key} label="" />` : html`<${TextPicture} watch=${watch} row=${row} />`}
    </button>
    <div class="caption">
      <span class="name" dir="auto" title=${title}>${title}</span>
      <span class="figures"><${Figures} row=${row} isCalibrated=${isCalibrated} /></span>
    </div>
    <button class="button small alike" onClick=${onLike} aria-label=${`More like ${title}`} title="More like this"><${Icon} name="alike" /></button>
  </li>`;
}

// Where there is no thumbnail, the first of the row's texts.
function TextPicture({ watch, row }) {
  const [first] = watch.columns.map((column) => valueOf(row, column.name)).filter((value) => typeof value === "string");
  return html`<span class="text-picture" dir="auto" aria-hidden="true">${first ?? keyText(row.key)}</span>`;
}

function TextResult({ watch, row, query, isCalibrated, onOpen, onLike }) {
  const title = titleOf(watch, row);
  const naming = namingColumn(watch);
  const passages = watch.source.filter((name) => name !== naming && typeof valueOf(row, name) === "string");
  const others = watch.columns.filter(({ name }) => name !== naming && !passages.includes(name) && (valueOf(row, name) ?? null) !== null);
  return html`<li class="text-result">
    <div class="text">
      <h2><button class="link" dir="auto" onClick=${onOpen}><${Passage} text=${title} query=${query} /></button></h2>
      ${passages.map((name) => html`<p key=${name} class="passage" dir="auto"><${Passage} text=${row.columns[name]} query=${query} /></p>`)}
      <p class="fields">
        <bdi>${keyText(row.key)}</bdi>
        ${others.slice(0, 4).map(({ name }) => html`<span key=${name}><b>${name}</b> ${cut(valueText(row.columns[name]), 0, 120)}</span>`)}
      </p>
    </div>
    <div class="side">
      <span class="figures"><${Figures} row=${row} isCalibrated=${isCalibrated} /></span>
      <button class="button small" onClick=${onLike} aria-label=${`More like this: ${title}`}><${Icon} name="alike" />More like this</button>
    </div>
  </li>`;
}

function Figures({ row, isCalibrated }) {
  return html`
    ${isCalibrated && row.match_probability !== null && html`<span class="probability" title="Probability that text and picture match">${percent(row.match_probability)}</span>`}
    ${row.rerank_score !== null && html`<span title="Score of the cross-encoder">score ${row.rerank_score.toFixed(2)}</span>`}
    ${row.distance === null ? html`<span title="Found by its words; it has no vector">words only</span>` : html`<span title="Cosine distance, 0 to 2">distance ${row.distance.toFixed(3)}</span>`}
  `;
}

function RowDialog({ watch, row, isCalibrated, onClose, onLike }) {
  const figures = [
    ["distance", row.distance?.toFixed(4)],
    ["match probability", isCalibrated && row.match_probability !== null ? percent(row.match_probability, 1) : undefined],
    ["rerank score", row.rerank_score?.toFixed(4)],
    ["fused score", row.score?.toFixed(4)],
    ["place by distance", row.vector_rank],
    ["place by words", row.text_rank],
    ["likeness to a row above", row.similarity_above?.toFixed(3)],
  ].filter(([, value]) => value !== undefined && value !== null);
  return html`<${Dialog} title=${titleOf(watch, row)} onClose=${onClose} wide=${true}>
    <div class=${watch.has_thumbnails ? "row-detail with-picture" : "row-detail"}>
      ${watch.has_thumbnails && html`<${Thumbnail} watch=${watch} rowKey=${row.key} size=${512} label=${titleOf(watch, row)} />`}
      <div class="stack">
        <dl class="values">
          ${Object.entries({ ...row.key, ...row.columns }).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd dir="auto" class=${value === null ? "muted" : null}>${valueText(value)}</dd></div>`)}
        </dl>
        <dl class="values figures">
          ${figures.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
        </dl>
        <div class="actions"><button class="button" onClick=${onLike}><${Icon} name="alike" />More like this</button></div>
      </div>
    </div>
  <//>`;
}
