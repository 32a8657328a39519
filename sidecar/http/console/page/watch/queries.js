// The search that a watch is for, in SQL and as a request, with words of the operator's own.

import { html, useState } from "../html.js";
import { CodeBlock } from "../parts/code.js";
import { shownColumns } from "../search/columns.js";
import { bodyOf, readSearch } from "../search/query.js";
import { callOf, curlOf, identifier, modelOf, sqlOf, sqlQuoted } from "../search/statements.js";

const EXAMPLES = { image: "a photo of a cat", text: "a text about cats" };
const FOUND_ROWS = 10; // as in the query of sidecar.status
const PARAMETER = " $1::";
const LIMIT = ` limit ${FOUND_ROWS}`;

// `query` is that of sidecar.status, null where it is not known.
export function Queries({ watch, query }) {
  const [written, setWritten] = useState(EXAMPLES[watch.kind]);
  const text = written.trim() || EXAMPLES[watch.kind];
  const body = { ...bodyOf(watch, readSearch(watch, { text }, null)), k: FOUND_ROWS };
  const statement = (query && plainSqlOf(watch, query, text)) ?? sqlOf(watch, body);
  return html`<section class="stack" aria-label="Query">
    <h2>Query</h2>
    <label class="field">Looked for
      <input type="text" name="text" autocomplete="off" value=${written} onInput=${(event) => setWritten(event.target.value)} />
    </label>
    <${CodeBlock} title="SQL" text=${statement.sql} note=${statement.note} />
    <${CodeBlock} title="curl" text=${curlOf(body, null)} />
  </section>`;
}

// The query with the text's vector as its parameter, which is the last thing but for type and limit; only the columns that name a row.
function plainSqlOf(watch, query, text) {
  const [at, end] = [query.lastIndexOf(PARAMETER), query.length - LIMIT.length];
  if (at < 0 || !query.endsWith(LIMIT)) return null;
  const type = query.slice(at + PARAMETER.length, end);
  const vector = `(select sidecar.embed(${sqlQuoted(text)}, ${modelOf(watch)})::${type})`;
  return {
    sql: `${callOf(watch, text)}${withColumns(watch, query.slice(0, at))} ${vector}${LIMIT};`,
    note: "The first statement has a sidecar embed the text; the second finds the rows, by the index once there is one.",
  };
}

function withColumns(watch, query) {
  const names = [...new Set([...watch.key_columns, ...shownColumns(watch)])].map(identifier);
  return query.replace(/^select (t\.)?\*/, (_all, table = "") => `select ${names.map((name) => table + name).join(", ")}`);
}
