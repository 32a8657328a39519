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
  const retry = async (body) => {
    try {
      const done = await postJson("retry", body);
      setTold(`${plural(done.rows, "row")} will be tried again.`);
      setSelected(new Set());
      await failures.reload();
    } catch (problem) {
      failures.fail(problem);
    }
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
    <p class="offscreen" role="status">${told}</p>
    ${answer.reasons.length === 0 && rows.length === 0
      ? html`<${Empty} title=${isNarrowed ? "None of these any more" : "No row has failed"}><p>A row whose content cannot be embedded is named here, with the reason.</p><//>`
      : html`
          <ul class="reasons" aria-label="Reasons">
            ${answer.reasons.map((reason) => html`<${Reason} key=${reason.reason} reason=${reason} chosen=${chosen} list=${list} rows=${rows} onRetry=${retry} />`)}
          </ul>
          <div class="failures-head">
            <p class="muted">${told ?? `${plural(rows.length, "row")} shown${answer.next || failures.next ? ", newest first" : ""}`}</p>
            <button class="button small" disabled=${picked.length === 0} onClick=${() => retrySome(picked, retry)}><${Icon} name="retry" />${picked.length > 0 ? `Retry ${plural(picked.length, "row")}` : "Retry the selected rows"}</button>
          </div>
          <ul class="failures" aria-label="Failed rows">
            ${rows.map(
              (row) => html`<${FailureRow}
                key=${idOf(row)}
                row=${row}
                watch=${list.watches?.find((each) => each.table === row.table && each.target === row.target)}
                isSelected=${selected.has(idOf(row))}
                onSelect=${(isOn) => setSelected(withMember(selected, idOf(row), isOn))}
                onRetry=${() => retrySome([row], retry)}
              />`,
            )}
          </ul>
          ${failures.next && html`<p class="more"><button class="button" onClick=${failures.more}>Show more</button></p>`}
        `}
  `;
}

function withMember(members, member, isOn) {
  const changed = new Set(members);
  if (isOn) changed.add(member);
  else changed.delete(member);
  return changed;
}

// One request for each watch: keys are of one table.
async function retrySome(rows, retry) {
  const byWatch = Map.groupBy(rows, (row) => JSON.stringify([row.table, row.target]));
  for (const [watch, some] of byWatch) {
    const [table, target] = JSON.parse(watch);
    await retry({ table, target, keys: some.map((row) => row.key) });
  }
}

function Reason({ reason, chosen, rows, onRetry }) {
  const isChosen = chosen.reason === reason.reason;
  const watches = [...new Set(rows.filter((row) => row.reason === reason.reason).map((row) => JSON.stringify([row.table, row.target])))];
  const retryAll = async () => {
    for (const watch of watches) {
      const [table, target] = JSON.parse(watch);
      await onRetry({ table, target, reason: reason.reason });
    }
  };
  return html`<li class=${isChosen ? "reason chosen" : "reason"}>
    <header>
      <h2><button class="link" aria-pressed=${String(isChosen)} onClick=${() => goTo("failures", { ...chosen, reason: isChosen ? null : reason.reason })}>${reason.reason.replaceAll("_", " ")}</button></h2>
      <span class="amount">${count(reason.rows)}</span>
    </header>
    <p class="muted">${reason.advice}</p>
    ${reason.retry_helps && watches.length > 0 && html`<p><button class="button small" onClick=${retryAll}><${Icon} name="retry" />Retry all</button></p>`}
  </li>`;
}

// The rows shown, and again every five seconds while the page is visible: a row that was changed disappears.
function useFailures(chosen) {
  const [state, setState] = useState({ answer: null, rows: [], next: null, error: null });
  const wanted = useRef(PAGE_ROWS);
  const asked = JSON.stringify(chosen);
  const load = async (signal) => {
    try {
      const answer = await getJson("failures", { ...chosen, limit: Math.min(wanted.current, MAX_SHOWN) }, signal);
      if (!signal?.aborted) setState({ answer, rows: answer.failures, next: answer.next, error: null });
    } catch (error) {
      if (!signal?.aborted) setState((now) => ({ ...now, error }));
    }
  };
  useEffect(() => {
    const aborting = new AbortController();
    wanted.current = PAGE_ROWS;
    setState({ answer: null, rows: [], next: null, error: null });
    load(aborting.signal);
    const timer = setInterval(() => document.hidden || load(aborting.signal), REFRESH_MS);
    return () => {
      clearInterval(timer);
      aborting.abort();
    };
  }, [asked]);
  const more = () => {
    wanted.current += PAGE_ROWS;
    return load();
  };
  return { ...state, reload: () => load(), more, fail: (error) => setState((now) => ({ ...now, error })) };
}
