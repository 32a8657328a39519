// One search as a command for a shell and as a statement for psql, quoted so that they can be pasted.

import { addressOf, hasKey } from "../service.js";

function shellQuoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export function sqlQuoted(text) {
  return `'${text.replaceAll("'", "''")}'`;
}

// Always in quotes: a plain name may be a word of SQL's own, such as order.
export function identifier(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

// The picture is read from its file: a command line holds no more than 128 KB.
export function curlOf(body, picture) {
  const key = hasKey() ? ` -H "Authorization: Bearer $SIDECAR_API_KEY"` : "";
  const command = `curl -sS ${shellQuoted(addressOf("search"))} -H 'Content-Type: application/json'${key} -d`;
  const json = JSON.stringify(body);
  if (picture === null) return `${command} ${shellQuoted(json)}`;
  const [head, base64] = picture.address.split(",");
  const [before, after] = json.split(base64);
  return (
    `{ printf %s ${shellQuoted(before)}; base64 < ${shellQuoted(picture.name)} | tr -d '\\n'; printf %s ${shellQuoted(after)}; } |\n` +
    `  ${command} @-`
  );
}

// The statement, and what it does not do.
export function sqlOf(watch, body) {
  const [vector, excluded, needs] = vectorOf(watch, body);
  const asked = (body.query ?? [body])
    .filter((part) => part.text)
    .map((part) => callOf(watch, part.text))
    .join("");
  const options = [`target => ${sqlQuoted(watch.target)}`, `k => ${body.k + excluded.length}`];
  if (body.filter) options.push(`filter => ${sqlQuoted(JSON.stringify(body.filter))}`);
  if (body.columns) options.push(`columns => ${body.columns.length ? `array[${body.columns.map(sqlQuoted).join(", ")}]` : "array[]::text[]"}`);
  const without = excluded.map((key) => `\nwhere key::jsonb <> ${keyOf(watch, key)} limit ${body.k}`).join("");
  const sql =
    `${asked}select key, distance, shown\nfrom sidecar.search_page(\n    ${sqlQuoted(watch.table)},\n    ${vector},\n` +
    `    ${options.join(", ")})${without};`;
  const left = [body.hybrid && "matches no words", body.rerank && "does not rerank", body.diversity && "does not vary"].filter(Boolean);
  const notes = [
    needs,
    asked && "Run one statement after the other, outside of a transaction: psql -c and some other programs send all of them as one.",
    left.length > 0 && `The statement finds the nearest rows; it ${left.join(", ")}: that is done by the service.`,
  ];
  return { sql, note: notes.filter(Boolean).join(" ") };
}

// As a procedure it asks the sidecar on any database; the function then knows the vector.
export function callOf(watch, text) {
  return `call sidecar.embed(${sqlQuoted(text)}, target => ${modelOf(watch)}, vector => null);\n`;
}

export function modelOf(watch) {
  return sqlQuoted(`${watch.table}.${identifier(watch.target)}`);
}

// A companion has the key's columns, too.
function rowOf(table, key) {
  const conditions = Object.entries(key).map(([name, value]) => `${identifier(name)} = ${sqlQuoted(String(value))}`);
  return `from ${table} where ${conditions.join(" and ")}`;
}

// As Postgres writes it: a large number that is text here is a number there.
function keyOf(watch, key) {
  const parts = Object.keys(key).map((name) => `${sqlQuoted(name)}, ${identifier(name)}`);
  return `(select jsonb_build_object(${parts.join(", ")}) ${rowOf(watch.table, key)})`;
}

function vectorOf(watch, body) {
  const model = modelOf(watch);
  const parts = body.query ?? [body];
  const keys = parts.filter((part) => part.key).map((part) => part.key);
  const vectors = parts.map((part) => {
    if (part.text) return `sidecar.embed(${sqlQuoted(part.text)}, ${model})`;
    if (part.image) return `sidecar.embed($1::bytea, ${model})`;
    return `(select ${identifier(watch.target)}::vector ${rowOf(watch.companion ?? watch.table, part.key)})`;
  });
  const sum = vectors.length === 1 ? vectors[0] : `(${vectors.join(" + ")})`;
  return [`${sum}::real[]`, keys, parts.some((part) => part.image) ? "$1 is the picture: bytes, which your driver passes. sidecar.embed() needs sidecar.enable_embed() once." : null];
}
