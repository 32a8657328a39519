// The columns to embed, and the other arguments of sidecar.watch.

import { html } from "../html.js";
import { bytes, count } from "../formats.js";
import { useTyped } from "../parts/typed.js";

const KINDS = { text: "text", image: "picture" };

export function Columns({ table, chosen, onChange }) {
  const sources = table.columns.filter((column) => column.kind !== null);
  return html`<form class="card add-form" onSubmit=${(event) => event.preventDefault()}>
    <header>
      <h2>${table.table}</h2>
      <p class="muted">${table.rows === null ? "" : `about ${count(table.rows)} rows · `}${bytes(table.bytes)} · key ${table.key_columns.join(", ")} · <a href="#/add">another table</a></p>
    </header>
    <fieldset>
      <legend>What is embedded</legend>
      <div class="checks">
        ${sources.map(
          (column) => html`<${Check}
            key=${column.name}
            label=${column.name}
            about=${`${KINDS[column.kind]}, ${column.type}`}
            isOn=${chosen.source.includes(column.name)}
            onChange=${(isOn) => onChange({ source: withColumn(table, chosen.source, column, isOn) })}
          />`,
        )}
      </div>
      <p class="note">Several texts are joined into one; a picture is embedded by itself.</p>
    </fieldset>
    <details>
      <summary>More</summary>
      <div class="options">
        <${Name} name="target" label="Vector column" given=${chosen.target} placeholder=${`${chosen.source[0] ?? "column"}_embedding`} onChange=${onChange} />
        <${Name} name="companion" label="Companion table" given=${chosen.companion} placeholder="none: in the table itself" onChange=${onChange} />
        <${Choice} name="storage" label="Stored as" value=${chosen.storage} options=${[["", "vector"], ["halfvec", "halfvec: half the space"]]} onChange=${onChange} />
        <${Choice} name="index" label="Index" value=${chosen.index} options=${[["", "HNSW on halfvec"], ["vector", "HNSW on vector"], ["none", "none"]]} onChange=${onChange} />
      </div>
      <fieldset>
        <legend>What searches over REST may show and filter by</legend>
        <div class="checks">
          ${table.columns.map(
            (column) => html`<${Check}
              key=${column.name}
              label=${column.name}
              about=${column.type}
              isOn=${chosen.expose.includes(column.name)}
              onChange=${(isOn) => onChange({ expose: isOn ? [...chosen.expose, column.name] : chosen.expose.filter((name) => name !== column.name) })}
            />`,
          )}
        </div>
      </fieldset>
    </details>
  </form>`;
}

function withColumn(table, source, column, isOn) {
  if (!isOn) return source.filter((name) => name !== column.name);
  const kindOf = (name) => table.columns.find((each) => each.name === name).kind;
  return column.kind === "image" ? [column.name] : [...source.filter((name) => kindOf(name) === "text"), column.name];
}

function Check({ label, about, isOn, onChange }) {
  return html`<label class="check">
    <input type="checkbox" checked=${isOn} onChange=${(event) => onChange(event.target.checked)} />
    <span>${label} <span class="muted">${about}</span></span>
  </label>`;
}

function Name({ name, label, given, placeholder, onChange }) {
  const [typed, setTyped] = useTyped(given); // a plan may arrive meanwhile
  return html`<label class="field">${label}
    <input name=${name} value=${typed} placeholder=${placeholder} onInput=${(event) => setTyped(event.target.value)} onChange=${(event) => onChange({ [name]: event.target.value })} />
  </label>`;
}

function Choice({ name, label, value, options, onChange }) {
  return html`<label class="field">${label}
    <select name=${name} value=${value} onChange=${(event) => onChange({ [name]: event.target.value })}>
      ${options.map(([option, title]) => html`<option key=${option} value=${option}>${title}</option>`)}
    </select>
  </label>`;
}
