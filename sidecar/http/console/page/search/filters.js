// Conditions on exposed columns: their form, and the filter that they make.

import { html } from "../html.js";
import { Icon } from "../parts/icons.js";
import { useTyped } from "../parts/typed.js";
import { filterColumns, isText } from "./columns.js";

const NUMBER = /^(smallint|integer|bigint|numeric|real|double precision)/;
const TIME = /^(date|time|interval)/;
const HAS_ORDER = ["equal", "unequal", "less", "at_most", "more", "at_least", "between"];
const NULLS = ["null", "not_null"];

// By name: its words, how many values it takes, and its part of the filter.
const OPERATORS = {
  equal: { label: "=", values: 1, make: (value) => ({ $eq: value }) },
  unequal: { label: "≠", values: 1, make: (value) => ({ $ne: value }) },
  less: { label: "<", values: 1, make: (value) => ({ $lt: value }) },
  at_most: { label: "≤", values: 1, make: (value) => ({ $lte: value }) },
  more: { label: ">", values: 1, make: (value) => ({ $gt: value }) },
  at_least: { label: "≥", values: 1, make: (value) => ({ $gte: value }) },
  between: { label: "between", values: 2, make: (value, upper) => ({ $between: [value, upper] }) },
  prefix: { label: "begins with", values: 1, make: (value) => ({ $prefix: value }) },
  contains: { label: "contains", values: 1, make: (value) => ({ $contains: value }) },
  yes: { label: "is true", values: 0, make: () => ({ $eq: true }) },
  no: { label: "is false", values: 0, make: () => ({ $eq: false }) },
  null: { label: "is null", values: 0, make: () => ({ $null: true }) },
  not_null: { label: "is not null", values: 0, make: () => ({ $null: false }) },
};

function kindOf(column) {
  if (column.type.endsWith("[]") || column.type === "jsonb") return "container";
  if (column.type === "boolean") return "boolean";
  if (NUMBER.test(column.type)) return "number";
  if (TIME.test(column.type)) return "time";
  return isText(column) ? "text" : "other";
}

function operatorsOf(column) {
  switch (kindOf(column)) {
    case "boolean":
      return ["yes", "no", ...NULLS];
    case "container":
      return ["contains", "equal", ...NULLS];
    case "text":
      return ["equal", "unequal", "prefix", "less", "more", ...NULLS];
    default:
      return [...HAS_ORDER, ...NULLS];
  }
}

// Numbers that JSON does not carry exactly are sent as strings, which Postgres reads by the column's type.
function typed(column, written) {
  const kind = kindOf(column);
  const number = Number(written);
  if (kind === "number" && String(number) === written.trim() && Math.abs(number) <= Number.MAX_SAFE_INTEGER) return number;
  if (kind !== "container") return written;
  try {
    return JSON.parse(written, withAllDigits);
  } catch {
    return column.type.endsWith("[]") ? [written] : written;
  }
}

// A number that JavaScript would round is sent as it was written.
function withAllDigits(_name, value, context) {
  return Number.isInteger(value) && !Number.isSafeInteger(value) && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

// A condition is [column, operator, value, upper value], as the page's address has it.
function readConditions(written) {
  try {
    const read = JSON.parse(written);
    return Array.isArray(read) ? read.filter((each) => Array.isArray(each) && each.every((part) => typeof part === "string")) : [];
  } catch {
    return [];
  }
}

// Whether the watch has the column, and the column the comparison: a link may be older than the table.
function fits(watch, [name, chosen]) {
  const column = filterColumns(watch).find((each) => each.name === name);
  return column !== undefined && operatorsOf(column).includes(chosen);
}

// Those conditions of the page's address that the watch can apply, and the columns of the others.
export function readConditionsOf(watch, written) {
  const all = readConditions(written);
  const others = all.filter((each) => !fits(watch, each)).map(([name]) => name);
  return [all.filter((each) => fits(watch, each)), others];
}

// The filter of those conditions that are complete.
export function filterOf(watch, conditions) {
  const columns = new Map(filterColumns(watch).map((column) => [column.name, column]));
  const parts = conditions.flatMap(([name, chosen, ...values]) => {
    const [column, operator] = [columns.get(name), OPERATORS[chosen]];
    if (values.slice(0, operator.values).filter((value) => value !== "").length < operator.values) return [];
    return [[name, operator.make(...values.map((value) => typed(column, value)))]];
  });
  const isOnce = new Set(parts.map(([name]) => name)).size === parts.length;
  if (isOnce) return Object.fromEntries(parts);
  return { $and: parts.map(([name, condition]) => ({ [name]: condition })) };
}

export function firstCondition(watch) {
  const [column] = filterColumns(watch).filter((each) => !watch.key_columns.includes(each.name)).concat(filterColumns(watch));
  return [column.name, operatorsOf(column)[0], "", ""];
}

export function Conditions({ watch, conditions, onChange, onRemoved }) {
  const columns = filterColumns(watch);
  const change = (index, changed) => onChange(conditions.map((each, at) => (at === index ? changed : each)));
  const remove = (index) => {
    onChange(conditions.filter((_, at) => at !== index));
    onRemoved();
  };
  return html`<ul class="conditions" aria-label="Filters">
    ${conditions.map(
      (condition, index) => html`<li key=${index}>
        <${Condition} columns=${columns} condition=${condition} number=${index + 1} onChange=${(changed) => change(index, changed)} />
        <button class="button quiet square" aria-label=${`Remove filter ${index + 1}`} onClick=${() => remove(index)}>
          <${Icon} name="close" />
        </button>
      </li>`,
    )}
  </ul>`;
}

function Condition({ columns, condition, number, onChange }) {
  const [name, chosen, value = "", upper = ""] = condition;
  const column = columns.find((each) => each.name === name) ?? columns[0];
  const operators = operatorsOf(column);
  const operator = operators.includes(chosen) ? chosen : operators[0];
  const chooseColumn = (event) => {
    const next = columns.find((each) => each.name === event.target.value);
    onChange([next.name, operatorsOf(next).includes(operator) ? operator : operatorsOf(next)[0], value, upper]);
  };
  const input = (label, given, change) =>
    html`<${Value} label=${`${label} of filter ${number}`} placeholder=${column.type || "value"} given=${given} onChange=${change} />`;
  return html`
    <select aria-label=${`Column of filter ${number}`} value=${column.name} onChange=${chooseColumn}>
      ${columns.map((each) => html`<option key=${each.name} value=${each.name}>${each.name}</option>`)}
    </select>
    <select aria-label=${`Comparison of filter ${number}`} value=${operator} onChange=${(event) => onChange([column.name, event.target.value, value, upper])}>
      ${operators.map((each) => html`<option key=${each} value=${each}>${OPERATORS[each].label}</option>`)}
    </select>
    ${OPERATORS[operator].values > 0 && input("Value", value, (next) => onChange([column.name, operator, next, upper]))}
    ${OPERATORS[operator].values > 1 && html`<span class="muted">and</span>`}
    ${OPERATORS[operator].values > 1 && input("Upper value", upper, (next) => onChange([column.name, operator, value, next]))}
  `;
}

function Value({ label, placeholder, given, onChange }) {
  const [typed, setTyped] = useTyped(given);
  return html`<input class="value" aria-label=${label} placeholder=${placeholder} value=${typed} onInput=${(event) => setTyped(event.target.value)} onChange=${(event) => onChange(event.target.value)} />`;
}
