// The tables to choose from.

import { addressFor } from "../address.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { bytes, count } from "../formats.js";
import { Empty } from "../parts/notices.js";

export function TableChoice({ answer, prefix, onPrefix }) {
  const { tables, has_more: hasMore } = answer;
  const field = useRef(null);
  const [typed, setTyped] = useState(prefix);
  useEffect(() => {
    if (document.activeElement !== field.current) setTyped(prefix); // the address lags behind who types quickly
  }, [prefix]);
  const type = (event) => {
    setTyped(event.target.value);
    onPrefix(event.target.value);
  };
  return html`
    <label class="field">Table
      <input ref=${field} type="search" name="table" autocomplete="off" placeholder="The beginning of its name" value=${typed} onInput=${type} />
    </label>
    ${tables.length === 0 &&
    html`<${Empty} title="No table is found"><p>${prefix.trim() && `No name begins with “${prefix.trim()}”, with or without its schema. `}Tables are listed that the role of the service may read: <code>grant select on … to …</code> lets it.</p><//>`}
    <ul class="tables" aria-label="Tables">
      ${tables.map((table) => html`<${Table} key=${table.table} table=${table} />`)}
    </ul>
    ${hasMore && html`<p class="muted">There are more tables: type the beginning of a name.</p>`}
  `;
}

function Table({ table }) {
  const sources = table.columns.filter((column) => column.kind !== null);
  const canBe = table.problem === null && sources.length > 0;
  return html`<li class="card table-choice">
    <h2>${canBe ? html`<a href=${addressFor("add", { table: table.table })}>${table.table}</a>` : table.table}</h2>
    <p class="muted">${table.rows === null ? "rows are not counted yet" : `about ${count(table.rows)} rows`} · ${bytes(table.bytes)}</p>
    ${table.watches.length > 0 && html`<p>Watched: ${table.watches.join(", ")}</p>`}
    ${table.problem && html`<p class="why">${table.problem.message}. ${table.problem.hint}</p>`}
    ${!table.problem && sources.length === 0 && html`<p class="why">It has no column of texts or pictures that the service may read.</p>`}
  </li>`;
}
