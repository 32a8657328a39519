// Where the time of a search went, as a bar of its stages.

import { html, useEffect, useRef } from "../html.js";
import { milliseconds } from "../formats.js";

const NAMES = { text: "text encoded", picture: "picture encoded", database: "database", rerank: "reranked", diversity: "varied" };

export function Stages({ answer }) {
  const spent = Object.entries(answer.stages_ms).filter(([, ms]) => ms !== null);
  const rest = Math.max(answer.took_ms - spent.reduce((sum, [, ms]) => sum + ms, 0), 0);
  const stages = [...spent.map(([name, ms]) => [name, NAMES[name] ?? name, ms]), ["rest", "other", rest]];
  return html`<div class="stages">
    <div class="stage-bar" aria-hidden="true">
      ${stages.map(([name, , ms]) => html`<${Segment} key=${name} name=${name} share=${ms / (answer.took_ms || 1)} />`)}
    </div>
    <dl aria-label="Time spent">
      ${stages.map(([name, label, ms]) => html`<div key=${name}><dt class=${`stage ${name}`}>${label}</dt><dd>${milliseconds(ms)}</dd></div>`)}
    </dl>
  </div>`;
}

// The width is set through the CSSOM: a style attribute would be against the page's policy.
function Segment({ name, share }) {
  const element = useRef(null);
  useEffect(() => {
    element.current.style.flexGrow = String(share);
  }, [share]);
  return html`<span class=${`segment ${name}`} ref=${element}></span>`;
}
