// Add a watch: a table, its columns, some of its rows, what it would take, and the SQL to run. Nothing is changed here.

import { goTo } from "../address.js";
import { html } from "../html.js";
import { useAnswer } from "../parts/answer.js";
import { Busy, Empty, Problem } from "../parts/notices.js";
import { getJson, postJson } from "../service.js";
import { Columns } from "./columns.js";
import { Plan } from "./plan.js";
import { TableChoice } from "./tables.js";

const PAUSE_MS = 250; // after the last key, before it is asked

export function AddScreen({ fields }) {
  const wanted = fields.table ?? "";
  const prefix = fields.search ?? "";
  const found = useTables(wanted || prefix);
  const change = (changed) => goTo("add", { ...fields, ...changed }, { replace: true });
  const table = found.answer?.tables.find((each) => each.table === wanted);
  return html`
    <h1>Add a watch</h1>
    ${found.error && html`<${Problem} error=${found.error} retry=${found.load} />`}
    ${found.answer === null && !found.error && html`<${Busy} label="Looking at the tables" />`}
    ${found.answer &&
    !wanted &&
    html`<${TableChoice} answer=${found.answer} prefix=${prefix} onPrefix=${(search) => change({ search })} onChoose=${(name) => goTo("add", { table: name })} />`}
    ${found.answer && wanted && table === undefined && html`<${Empty} title=${`There is no table ${wanted}`}><p>Or the role of the service may not read it. <a href="#/add">All tables</a></p><//>`}
    ${table && html`<${AddTo} key=${table.table} table=${table} fields=${fields} onChange=${change} />`}
  `;
}

function AddTo({ table, fields, onChange }) {
  const source = listOf(fields.source).filter((name) => table.columns.some((each) => each.name === name && each.kind !== null));
  const expose = listOf(fields.expose).filter((name) => table.columns.some((each) => each.name === name));
  const chosen = { source, expose, target: fields.target ?? "", companion: fields.companion ?? "", storage: fields.storage ?? "", index: fields.index ?? "" };
  const planned = usePlan(bodyOf(table, chosen));
  const change = ({ source, expose, ...others }) =>
    onChange({ ...others, ...(source && { source: JSON.stringify(source) }), ...(expose && { expose: expose.length > 0 ? JSON.stringify(expose) : "" }) });
  return html`
    <${Columns} table=${table} chosen=${chosen} onChange=${change} />
    ${planned.error && html`<${Problem} error=${planned.error} retry=${planned.load} />`}
    ${planned.isLoading && html`<${Busy} label="Looking at the rows" />`}
    ${planned.plan && !planned.isLoading && html`<${Plan} plan=${planned.plan} />`}
  `;
}

// What `/plan` takes, as text: the same choice is asked once. Null: there is no column yet.
function bodyOf(table, { source, expose, ...options }) {
  if (source.length === 0) return null;
  const given = Object.entries(options).filter(([, value]) => value !== "");
  return JSON.stringify({ table: table.table, source, expose, ...Object.fromEntries(given) });
}

// Of a field of the address, which anybody may have written.
function listOf(text) {
  try {
    const value = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
  } catch {
    return [];
  }
}

function useTables(prefix) {
  return useAnswer(prefix, (signal) => getJson("tables", { search: prefix.trim() || null }, signal), PAUSE_MS);
}

function usePlan(body) {
  const { answer, ...rest } = useAnswer(body, (signal) => postJson("plan", JSON.parse(body), signal), PAUSE_MS);
  return { ...rest, plan: answer };
}
