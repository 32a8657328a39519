// One failed row: its picture where one can be made, its key, its message.

import { html } from "../html.js";
import { keyText, plural } from "../formats.js";
import { Icon } from "../parts/icons.js";
import { Thumbnail } from "../parts/thumbnail.js";

export function idOf(row) {
  return JSON.stringify([row.table, row.target, row.key]);
}

export function FailureRow({ row, watch, isSelected, onSelect, onRetry }) {
  const name = `${row.table}.${row.target}`.replace(/^public\./, "");
  return html`<li class="failure">
    <input type="checkbox" aria-label=${`Select ${keyText(row.key)} of ${name}`} checked=${isSelected} onChange=${(event) => onSelect(event.target.checked)} />
    ${watch?.kind === "image" ? html`<${Thumbnail} watch=${row} rowKey=${row.key} size=${96} label="" path="failures/thumbnail" />` : html`<span class="thumbnail" aria-hidden="true"></span>`}
    <div class="text">
      <p><b><bdi>${keyText(row.key)}</bdi></b> <span class="muted">of ${name}</span></p>
      <p class="message" dir="auto">${row.message}</p>
      <p class="muted small">${row.reason.replaceAll("_", " ")} · ${plural(row.attempts, "attempt")} · <time datetime=${row.at}>${new Date(row.at).toLocaleString()}</time></p>
    </div>
    <button class="button small" onClick=${onRetry} aria-label=${`Retry ${keyText(row.key)} of ${name}`}><${Icon} name="retry" />Retry</button>
  </li>`;
}
