// The failures: by reason, with what to do; each row with its message, to be tried again.

import { addressFor, goTo } from "../address.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { count, plural } from "../formats.js";
import { Icon } from "../parts/icons.js";
import { Busy, Empty, Problem } from "../parts/notices.js";
import { getJson, postJson } from "../service.js";
import { FailureRow, idOf } from "./row.js";

const PAGE_ROWS = 50;
const REFRESH_MS = 5000;
const MAX_SHOWN = 500; // that are asked for again every five seconds

export function FailuresScreen({ fields, list }) {
  const chosen = { table: fields.table ?? null, target: fields.target ?? null, reason: fields.reason ?? null };
  const failures = useFailures(chosen);
  const [selected, setSelected] = useState(new Set());
  const [told, setTold] = useState(null);
  const { answer, error, rows } = failures;
  const [refused, setRefused] = useState(null);
  // `findBodies` promises the requests: one for each watch, as keys are of one table.
  const retry = async (findBodies) => {
    setRefused(null);
    try {
      let amount = 0;
      for (const body of await findBodies()) amount += (await postJson("retry", body)).rows;
      setTold(`${plural(amount, "row")} will be tried again.`);
      setSelected(new Set());
    } catch (problem) {
      setRefused({ error: problem, again: () => retry(findBodies) });
    }
    await failures.reload();
  };
  if (error && answer === null) return html`<h1>Failures</h1><${Problem} error=${error} retry=${failures.reload} />`;
  if (answer === null) return html`<h1 class="offscreen">Failures</h1><${Busy} label="Looking for failures" />`;
  const isNarrowed = Object.values(chosen).some((value) => value !== null);
  const picked = rows.filter((row) => selected.has(idOf(row)));
  return html`
    <div class="screen-head">
      <h1>Failures</h1>
      ${isNarrowed && html`<p><a href=${addressFor("failures")}>Show all</a></p>`}
    </div>
    ${error && html`<${Problem} error=${error} retry=${failures.reload} />`}
    ${refused && html`<${Problem} error=${refused.error} retry=${refused.again} />`}
    <p class="offscreen" role="status">${told}</p>
    ${answer.reasons.length === 0 && rows.length === 0
      ? html`<${Empty} title=${isNarrowed ? "None of these any more" : "No row has failed"}><p>A row whose content cannot be embedded is named here, with the reason.</p><//>`
      : html`
          <ul class="reasons" aria-label="Reasons">
            ${answer.reasons.map((reason) => html`<${Reason} key=${reason.reason} reason=${reason} chosen=${chosen} onRetry=${() => retry(() => bodiesFor(chosen, reason.reason))} />`)}
          </ul>
          <div class="failures-head">
            <p class="muted">${told ?? `${plural(rows.length, "row")} shown${answer.next || failures.next ? ", newest first" : ""}`}</p>
            <button class="button small" disabled=${picked.length === 0} onClick=${() => retry(() => bodiesOf(picked))}><${Icon} name="retry" />${picked.length > 0 ? `Retry ${plural(picked.length, "row")}` : "Retry the selected rows"}</button>
          </div>
          <ul class="failures" aria-label="Failed rows">
            ${rows.map(
              (row) => html`<${FailureRow}
                key=${idOf(row)}
                row=${row}
                watch=${list.watches?.find((each) => each.table === row.table && each.target === row.target)}
                isSelected=${selected.has(idOf(row))}
                onSelect=${(isOn) => setSelected(withMember(selected, idOf(row), isOn))}
                onRetry=${() => retry(() => bodiesOf([row]))}
              />`,
            )}
          </ul>
          ${failures.next && rows.length >= MAX_SHOWN && html`<p class="note">No more than ${count(MAX_SHOWN)} are shown. Others follow when these are gone; a reason narrows the list.</p>`}
          ${failures.next && rows.length < MAX_SHOWN && html`<p class="more"><button class="button" onClick=${failures.more}>Show more</button></p>`}
        `}
  `;
}

function withMember(members, member, isOn) {
  const changed = new Set(members);
  if (isOn) changed.add(member);
  else changed.delete(member);
  return changed;
}

function bodiesOf(rows) {
  const byWatch = Map.groupBy(rows, (row) => JSON.stringify([row.table, row.target]));
  return [...byWatch].map(([watch, some]) => {
    const [table, target] = JSON.parse(watch);
    return { table, target, keys: some.map((row) => row.key) };
  });
}

// For all rows of a reason: the watches whose rows are shown may not be all that have some.
async function bodiesFor({ table, target }, reason) {
  if (table !== null) return [{ table, target, reason }];
  const { watches } = await getJson("status");
  return watches.filter((watch) => watch.failed > 0).map((watch) => ({ table: watch.relation, target: watch.target, reason }));
}

function Reason({ reason, chosen, onRetry }) {
  const isChosen = chosen.reason === reason.reason;
  return html`<li class=${isChosen ? "reason chosen" : "reason"}>
    <header>
      <h2><button class="link" aria-pressed=${String(isChosen)} onClick=${() => goTo("failures", { ...chosen, reason: isChosen ? null : reason.reason })}>${reason.reason.replaceAll("_", " ")}</button></h2>
      <span class="amount">${count(reason.rows)}</span>
    </header>
    <p class="muted">${reason.advice}</p>
    ${reason.retry_helps && html`<p><button class="button small" onClick=${onRetry}><${Icon} name="retry" />Retry all</button></p>`}
  </li>`;
}

// The rows shown, and again every five seconds while the page is visible: a row that was changed disappears. The newest
// request wins, and one that lacks a key is not made again by itself: it would ask for the key each time.
function useFailures(chosen) {
  const [state, setState] = useState({ answer: null, rows: [], next: null, error: null });
  const wanted = useRef(PAGE_ROWS);
  const running = useRef(null);
  const lacksKey = useRef(false);
  const newest = useRef(chosen);
  newest.current = chosen;
  const asked = JSON.stringify(chosen);
  const load = async () => {
    running.current?.abort();
    const { signal } = (running.current = new AbortController());
    lacksKey.current = false;
    try {
      const answer = await getJson("failures", { ...newest.current, limit: Math.min(wanted.current, MAX_SHOWN) }, signal);
      if (!signal.aborted) setState({ answer, rows: answer.failures, next: answer.next, error: null });
    } catch (error) {
      if (signal.aborted) return;
      lacksKey.current = error.status === 401 || error.status === 403;
      setState((now) => ({ ...now, error }));
    } finally {
      if (running.current?.signal === signal) running.current = null;
    }
  };
  useEffect(() => {
    wanted.current = PAGE_ROWS;
    setState({ answer: null, rows: [], next: null, error: null });
    load();
    const timer = setInterval(() => document.hidden || running.current || lacksKey.current || load(), REFRESH_MS);
    return () => {
      clearInterval(timer);
      running.current?.abort();
    };
  }, [asked]);
  const more = () => {
    wanted.current += PAGE_ROWS;
    return load();
  };
  return { ...state, reload: load, more };
}
