// The map: a sample of a watch in the plane, in which like rows lie together.

import { addressFor, goTo } from "../address.js";
import { html, useEffect, useState } from "../html.js";
import { keyText, percent, plural } from "../formats.js";
import { Icon } from "../parts/icons.js";
import { Busy, Empty, Problem, nothingToSearch } from "../parts/notices.js";
import { Thumbnail } from "../parts/thumbnail.js";
import { Plane } from "./plane.js";
import { useSample } from "./sample.js";

const SIZES = [200, 500, 1000, 2000];

export function MapScreen({ fields, list }) {
  if (list.error) return html`<h1>Map</h1><${Problem} error=${list.error} retry=${list.reload} />`;
  if (list.watches === null) return html`<h1 class="offscreen">Map</h1><${Busy} />`;
  const watch = list.watches.find((each) => each.watch === fields.watch) ?? usualWatch(list.watches);
  if (watch === undefined) return html`<h1>Map</h1><${Empty} title=${nothingToSearch()}><p>The rows of a watched table are drawn here once they have vectors.</p><//>`;
  const rows = SIZES.includes(Number(fields.rows)) ? Number(fields.rows) : 500;
  return html`<${MapOf} key=${watch.watch} watch=${watch} watches=${list.watches} rows=${rows} />`;
}

// Pictures tell more at a glance than texts.
function usualWatch(watches) {
  const searchable = watches.filter((each) => each.searchable);
  return searchable.find((each) => each.has_thumbnails) ?? searchable[0] ?? watches[0];
}

function MapOf({ watch, watches, rows }) {
  const { answer, error, isLoading, load } = useSample(watch, rows);
  const [choice, setChoice] = useState(null);
  const chosen = choice?.answer === answer ? choice.index : null; // a choice is of its own sample
  return html`
    <h1 class="offscreen">Map</h1>
    <form class="map-head" onSubmit=${(event) => event.preventDefault()}>
      <label>Watch
        <select value=${watch.watch} onChange=${(event) => goTo("map", { watch: event.target.value, rows })}>
          ${watches.map((each) => html`<option key=${each.watch} value=${each.watch}>${each.watch.replace(/^public\./, "")}</option>`)}
        </select>
      </label>
      <label>Rows
        <select value=${rows} onChange=${(event) => goTo("map", { watch: watch.watch, rows: event.target.value })}>
          ${SIZES.map((size) => html`<option key=${size} value=${size}>${size}</option>`)}
        </select>
      </label>
      <button class="button" disabled=${isLoading} onClick=${load}><${Icon} name="retry" />Another sample</button>
    </form>
    ${error && html`<${Problem} error=${error} retry=${load} />`}
    ${isLoading && html`<${Busy} label="Drawing a sample" />`}
    ${answer && !isLoading && answer.points.length === 0 && html`<${Empty} title="No vectors yet"><p>Rows appear here once they are embedded: <a href=${addressFor("rows")}>how far it is</a>.</p><//>`}
    ${answer && !isLoading && answer.points.length > 0 &&
    html`<div class="map">
      <figure>
        <${Plane} points=${answer.points} chosen=${chosen} onChoose=${(index) => setChoice({ answer, index })} />
        <figcaption class="muted">${explanationOf(answer)}</figcaption>
      </figure>
      <${ChosenRow} watch=${watch} point=${chosen === null ? null : answer.points[chosen]} />
    </div>`}
  `;
}

function ChosenRow({ watch, point }) {
  if (point === null) return html`<aside class="map-row muted"><p>Point at a row, or use the arrow keys on the map.</p></aside>`;
  const like = addressFor("search", { watch: watch.watch, like: JSON.stringify(point.key) });
  return html`<aside class="map-row" aria-live="polite" aria-label="The row">
    ${watch.has_thumbnails && html`<${Thumbnail} watch=${watch} rowKey=${point.key} size=${192} label=${point.label ?? keyText(point.key)} />`}
    <p class="label" dir="auto">${point.label}</p>
    <p class="muted">${keyText(point.key)}</p>
    <p><a class="button small" href=${like}><${Icon} name="alike" />More like this</a></p>
  </aside>`;
}

function explanationOf({ points, shares }) {
  const shown = percent(shares[0] + shares[1]);
  return `${plural(points.length, "row")} of a random sample, by the two directions in which their vectors differ most; these show ${shown} of the differences. Rows that lie apart here are unlike; those that lie together may still be.`;
}
