// One watch: its state, its settings, the query that it is for, and a sample of its rows with what lies nearest to each.

import { addressFor } from "../address.js";
import { html, useEffect, useRef } from "../html.js";
import { Busy, Empty, Problem, Warning } from "../parts/notices.js";
import { nameOf, useStatus } from "../rows/status.js";
import { Actions, Figures, State } from "../rows/watch_card.js";
import { Queries } from "./queries.js";
import { Sample } from "./sample.js";
import { Settings } from "./settings.js";

const REMOVED = "It was removed in the meantime, or its table was dropped.";

// `watch` is what searches know of it, `row` its state, which takes the scope `admin`: either may be missing.
export function WatchScreen({ fields, list }) {
  const state = useStatus();
  const name = fields.watch ?? "";
  const watch = list.watches?.find((each) => each.watch === name);
  const row = state.status?.watches?.find((each) => nameOf(each) === name);
  const shown = useRef(null); // the name of the watch that was here
  useEffect(() => {
    if (row !== undefined) list.reload(); // warnings are of the state
  }, [row?.state, row?.watch_id]);
  const retry = () => (state.retry(), list.reload());
  if (watch || row) shown.current = name;
  if (watch || row) return html`<${Watch} key=${name} name=${name} watch=${watch} row=${row} state=${state} list=${list} retry=${retry} />`;
  if (isUnknownYet(state, list)) return html`<h1 class="offscreen">Watch</h1><${Busy} label="Looking for the watch" />`;
  const isRead = list.watches !== null || Boolean(state.status?.watches);
  if (!isRead) return html`<h1>Watch</h1><${Problem} error=${list.error ?? state.error} retry=${retry} />`;
  return html`<h1 class="offscreen">Watch</h1>
    <${Empty} title="There is no such watch">
      <p>${shown.current === name ? REMOVED : html`None is called ${name ? html`<b>${name}</b>` : "nothing"}, or this key does not open it.`} Watches that were removed, and those of tables that were renamed, are no longer here: <a href=${addressFor("rows")}>all watches</a>.</p>
    <//>`;
}

function isUnknownYet(state, list) {
  return (list.watches === null && !list.error) || (state.status === null && !state.error);
}

function Watch({ name, watch, row, state, list, retry }) {
  const { status, error, samples, trouble } = state;
  const isGone = Boolean(status?.watches) && row === undefined;
  const onChanged = () => (state.load(), list.reload());
  return html`
    <div class="screen-head">
      <h1>${name.replace(/^public\./, "")}</h1>
      ${row && html`<${Actions} watch=${row} onChanged=${onChanged} />`}
    </div>
    ${isGone && html`<${Warning}>${REMOVED}<//>`}
    ${[...(watch?.problem ? [watch.problem] : []), ...(watch?.warnings ?? [])].map((text) => html`<${Warning} key=${text}>${text}<//>`)}
    ${!error && trouble && html`<${Warning}>No live figures at the moment. ${trouble.message}<//>`}
    ${status?.database === "unavailable" && html`<${Warning}>The database cannot be read: ${status.database_detail}. The service tries again by itself.<//>`}
    ${row &&
    html`<section class="watch" aria-label="State">
      <${State} watch=${row} />
      <${Figures} watch=${row} sample=${samples.at(-1)?.watches[name]} />
    </section>`}
    ${error && html`<${Problem} error=${error} retry=${retry} />`}
    <${Settings} watch=${watch} row=${row} />
    ${watch
      ? html`<${Queries} watch=${watch} query=${row?.query ?? null} /><${Sample} watch=${watch} />`
      : list.error
        ? html`<${Problem} error=${list.error} retry=${retry} />`
        : html`<${Warning}>Its rows cannot be searched: the table is gone, or this key does not open it.<//>`}
  `;
}
