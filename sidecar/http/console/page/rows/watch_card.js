// One watch: how much of it is embedded, how fast, and what is in the way.

import { addressFor } from "../address.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { count, duration, percent, perSecond } from "../formats.js";
import { Icon } from "../parts/icons.js";
import { PauseDialog, RateDialog } from "./actions.js";
import { nameOf } from "./status.js";

export function WatchCard({ watch, sample, onChanged }) {
  const name = nameOf(watch);
  return html`<li class="watch">
    <header>
      <div>
        <h2><a href=${addressFor("watch", { watch: name })}>${name.replace(/^public\./, "")}</a></h2>
        <${State} watch=${watch} />
      </div>
      <${Actions} watch=${watch} onChanged=${onChanged} />
    </header>
    <${Figures} watch=${watch} sample=${sample} />
  </li>`;
}

export function State({ watch }) {
  return html`<p class="state"><span class=${`dot ${watch.health}`} aria-hidden="true"></span>${watch.state}</p>`;
}

export function Actions({ watch, onChanged }) {
  const [action, setAction] = useState(null);
  const isPaused = watch.state.startsWith("paused");
  const name = nameOf(watch);
  const Dialog = { pause: PauseDialog, rate: RateDialog }[action];
  return html`<div class="actions">
    <button class="button small" onClick=${() => setAction("rate")} aria-label=${`Rate of ${name}`}><${Icon} name="gauge" />${watch.rows_per_s === null ? "Rate" : `${perSecond(watch.rows_per_s)} rows/s`}</button>
    <button class="button small" onClick=${() => setAction("pause")} aria-label=${`${isPaused ? "Resume" : "Pause"} ${name}`}>
      <${Icon} name=${isPaused ? "play" : "pause"} />${isPaused ? "Resume" : "Pause"}
    </button>
    ${Dialog && html`<${Dialog} watch=${watch} isPaused=${isPaused} onClose=${() => setAction(null)} onDone=${() => (setAction(null), onChanged())} />`}
  </div>`;
}

export function Figures({ watch, sample }) {
  const speed = sample?.rows_per_s ?? null;
  return html`
    <${Coverage} watch=${watch} />
    <dl class="numbers">
      <${Figure} label="rows" value=${`${watch.estimated ? "about " : ""}${count(watch.rows)}`} />
      <${Figure} label="pending" value=${count(watch.pending)} />
      <${Figure} label="failed" value=${watch.failed > 0 ? html`<a href=${addressFor("failures", { table: watch.relation, target: watch.target })}>${count(watch.failed)}</a>` : "0"} isBad=${watch.failed > 0} />
      <${Figure} label="lag, p95" value=${duration(sample?.lag_p95_s ?? (watch.lag_ms === null ? null : watch.lag_ms / 1000))} />
      <${Figure} label="rate" value=${speed === null ? "–" : `${perSecond(speed)}/s`} />
      <${Figure} label="done in" value=${timeLeft(watch, speed)} />
    </dl>
    <p class="index muted">${indexText(watch)}</p>
  `;
}

function Figure({ label, value, isBad = false }) {
  return html`<div><dt>${label}</dt><dd class=${isBad ? "bad" : null}>${value}</dd></div>`;
}

function timeLeft(watch, speed) {
  if (!watch.pending) return "–";
  return speed > 0 ? duration(watch.pending / speed) : "not known yet";
}

function indexText(watch) {
  if (watch.index_statement) return `Index: ${watch.index ?? "none"}; to build: ${watch.index_statement}`;
  const recall = watch.recall === null ? "" : `, finds ${percent(watch.recall, 1)} of the nearest ${watch.recall_k}`;
  return `Index: ${watch.index ?? "none yet"}${recall}`;
}

function Coverage({ watch }) {
  const rows = Math.max(watch.rows ?? 0, watch.embedded + watch.failed, 1);
  const upToDate = Math.max(watch.embedded - watch.outdated, 0);
  const parts = [["up-to-date", upToDate], ["outdated", watch.outdated], ["failed", watch.failed], ["empty", watch.empty]];
  return html`<div class="coverage">
    <span class="share">${watch.coverage === null ? "–" : `${Math.floor(watch.coverage * 10) / 10} %`}</span>
    <span class="muted">embedded</span>
    <div class="coverage-bar" role="img" aria-label=${`${count(upToDate)} of ${count(watch.rows)} rows are up to date`}>
      ${parts.map(([name, number]) => html`<${Part} key=${name} name=${name} share=${number / rows} />`)}
    </div>
  </div>`;
}

function Part({ name, share }) {
  const element = useRef(null);
  useEffect(() => {
    element.current.style.width = `${share * 100}%`; // through the CSSOM, as the page's policy wants it
  }, [share]);
  return html`<span ref=${element} class=${name}></span>`;
}
