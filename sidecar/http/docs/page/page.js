"use strict";

// Everything is made with textContent: nothing of the document, or of an answer, is read as HTML.

const TITLES = { embed: "Embed and rank", search: "Search", admin: "Operate", open: "Open to all" };

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A description, with what stands between backticks as code.
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function resolve(api, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((node, step) => node[step], api);
}

function typeName(api, given) {
  const schema = resolve(api, given);
  const members = schema.anyOf || schema.oneOf;
  if (members) {
    const names = members.filter((member) => member.type !== "null").map((member) => typeName(api, member));
    return [...new Set(names)].join(" or ");
  }
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${typeName(api, schema.items)}`;
  if (schema.contentMediaType) return `file (${schema.contentMediaType})`;
  return schema.type || "any value";
}

function bounds(schema) {
  const words = {
    minimum: "at least", exclusiveMinimum: "above", maximum: "at most", exclusiveMaximum: "below",
    minItems: "items at least", maxItems: "items at most", minLength: "characters at least", maxLength: "characters at most",
  };
  const found = [];
  for (const part of [schema, ...(schema.anyOf || [])]) {
    for (const [key, word] of Object.entries(words)) if (key in part) found.push(`${word} ${part[key]}`);
  }
  if ("default" in schema && schema.default !== null && !("const" in schema)) found.push(`default ${JSON.stringify(schema.default)}`);
  return found.join(", ");
}

// The objects inside a schema, so that their fields can be listed below its own.
function inner(api, given, depth = 0) {
  const schema = resolve(api, given);
  if (depth > 4) return [];
  if (schema.properties) return [schema];
  const parts = [...(schema.anyOf || []), ...(schema.oneOf || []), schema.items, schema.additionalProperties];
  return parts.filter((part) => part && typeof part === "object").flatMap((part) => inner(api, part, depth + 1));
}

function rows(api, schema, prefix, depth, ofAnswer) {
  const required = new Set(ofAnswer ? Object.keys(schema.properties || {}) : schema.required || []);
  return Object.entries(schema.properties || {}).flatMap(([name, property]) => {
    const resolved = resolve(api, property);
    const described = { ...resolved, ...property };
    const meaning = [described.description, bounds(described)].filter(Boolean).join(" · ");
    const row = element("tr", { class: prefix ? "nested" : undefined },
      element("td", {}, element("code", {}, prefix + name)),
      element("td", {}, typeName(api, property) + (required.has(name) ? "" : ", optional")),
      element("td", {}, ...prose(meaning)));
    const below = depth < 3 ? inner(api, property).flatMap((part) => rows(api, part, `${prefix}${name}.`, depth + 1, ofAnswer)) : [];
    return [row, ...below];
  });
}

function table(api, given, ofAnswer = false) {
  const parts = inner(api, given);
  const found = parts.flatMap((part) => rows(api, part, "", 0, ofAnswer));
  if (!found.length) return element("p", { class: "note" }, typeName(api, given));
  const head = element("tr", {}, ...["Field", "Type", "Meaning"].map((title) => element("th", { scope: "col" }, title)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...found));
}

function example(api, given) {
  const schema = resolve(api, given);
  if (given && given.examples) return given.examples[0];
  if (schema.examples) return schema.examples[0];
  if ("const" in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.properties) {
    const required = new Set(schema.required || []);
    const shown = Object.entries(schema.properties).filter(
      ([name, property]) => required.has(name) || property.examples);
    return Object.fromEntries(shown.map(([name, property]) => [name, example(api, property)]));
  }
  const members = schema.anyOf || schema.oneOf;
  if (members) return example(api, members[0]);
  if (schema.type === "array") return [example(api, schema.items)];
  return { string: "…", integer: 1, number: 0.5, boolean: false }[schema.type] ?? null;
}

function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(operation, url, body, isForm, hasKey) {
  const parts = [`curl ${quote(url)}`];
  if (hasKey) parts.push('-H "Authorization: Bearer $KEY"');
  if (isForm) parts.push("-F file=@photo.jpg");
  else if (body !== null) parts.push("-H 'Content-Type: application/json'", `-d ${quote(body)}`);
  return parts.join(" \\\n  ");
}

function fillPath(path, inputs) {
  return path.replace(/{(\w+)}/g, (_, name) => encodeURIComponent(inputs[name].value || name));
}

async function send(operation, url, body, files) {
  const headers = {};
  const key = document.getElementById("key").value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  let content;
  if (files) {
    content = new FormData();
    for (const file of files.files) content.append("file", file);
  } else if (body !== null) {
    headers["Content-Type"] = "application/json";
    content = body;
  }
  const began = performance.now();
  const response = await fetch(url, { method: operation.method, headers, body: content });
  const text = await response.text();
  return { response, text, tookMs: Math.round(performance.now() - began) };
}

function shorten(value) {
  if (Array.isArray(value)) {
    const long = value.length > 8 && value.every((each) => typeof each === "number");
    return long ? [...value.slice(0, 8), `… ${value.length} numbers`] : value.map(shorten);
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shorten(each)]));
  }
  return typeof value === "string" && value.length > 400 ? `${value.slice(0, 400)}… ${value.length} characters` : value;
}

function pretty(text) {
  try {
    return JSON.stringify(shorten(JSON.parse(text)), null, 2);
  } catch {
    return text.length > 20000 ? `${text.slice(0, 20000)}…` : text;
  }
}

function tryIt(api, operation) {
  const content = operation.requestBody ? operation.requestBody.content : {};
  const isForm = "multipart/form-data" in content;
  const json = content["application/json"];
  const inputs = {};
  for (const { name } of operation.parameters || []) {
    inputs[name] = element("input", { placeholder: name, "aria-label": name });
  }
  const body = json ? element("textarea", { spellcheck: "false", "aria-label": "Body" }) : null;
  if (body) {
    body.value = JSON.stringify(example(api, json.schema), null, 2);
    body.rows = Math.min(body.value.split("\n").length + 1, 24);
  }
  const several = isForm && resolve(api, resolve(api, content["multipart/form-data"].schema).properties.file).type === "array";
  const files = isForm ? element("input", { type: "file", accept: "image/*", "aria-label": "Pictures" }) : null;
  if (several) files.multiple = true;
  const command = element("pre", { "aria-label": "As a command" });
  const answer = element("pre", { class: "tried", hidden: "", "aria-live": "polite" });
  const button = element("button", { type: "button" }, "Send");

  const target = () => new URL(fillPath(operation.path, inputs).slice(1), new URL(".", location.href));
  const show = () => {
    command.textContent = curl(operation, target().href, body && body.value, isForm, Boolean(operation.security));
  };
  for (const input of [...Object.values(inputs), body].filter(Boolean)) input.addEventListener("input", show);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { response, text, tookMs } = await send(operation, target(), body && body.value, files);
      answer.textContent = `${response.status} ${response.statusText} · ${tookMs} ms\n\n${pretty(text)}`;
      answer.classList.toggle("bad", !response.ok);
    } catch (error) {
      answer.textContent = `No answer: ${error.message}`;
      answer.classList.add("bad");
    }
    answer.hidden = false;
    button.disabled = false;
  });
  show();
  const controls = element("div", { class: "row" }, ...Object.values(inputs), files, button);
  return element("div", {}, element("h3", {}, "Try it"), body, controls, command, answer);
}

function answers(api, operation) {
  const found = Object.entries(operation.responses).filter(([status]) => status !== "200").map(([status, given]) =>
    element("tr", {}, element("td", {}, status), element("td", {}, ...prose(resolve(api, given).description))));
  return element("table", {}, element("tbody", {}, ...found));
}

function section(api, operation) {
  const heading = element("summary", {},
    element("span", { class: `method ${operation.method.toLowerCase()}` }, operation.method),
    element("span", { class: "path" }, operation.path),
    element("span", { class: "summary" }, operation.summary));
  const details = element("details", { id: operation.operationId }, heading);
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const [request] = Object.values(operation.requestBody ? operation.requestBody.content : {});
    const [response] = Object.values(operation.responses["200"].content);
    details.append(element("div", { class: "body" },
      operation.description ? element("p", { class: "note" }, ...prose(operation.description)) : null,
      ...(request ? [element("h3", {}, "Body"), table(api, request.schema)] : []),
      element("h3", {}, "Answer"), table(api, response.schema, true),
      tryIt(api, operation),
      element("h3", {}, "Errors"), answers(api, operation)));
  });
  return details;
}

function build(api) {
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").append(...prose(api.info.description));
  const main = document.getElementById("operations");
  const contents = document.getElementById("contents");
  main.replaceChildren();
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase() })));
  for (const [tag, title] of Object.entries(TITLES)) {
    const tagged = operations.filter((operation) => operation.tags.includes(tag));
    if (!tagged.length) continue;
    main.append(element("h2", {}, title), ...tagged.map((operation) => section(api, operation)));
    const links = tagged.map((operation) =>
      element("li", {}, element("a", { href: `#${operation.operationId}` }, operation.path)));
    contents.append(element("h2", {}, title), element("ul", {}, ...links));
  }
  const openLinked = () => {
    const linked = document.getElementById(location.hash.slice(1));
    if (linked && linked.tagName === "DETAILS") {
      linked.open = true;
      linked.scrollIntoView();
    }
  };
  addEventListener("hashchange", openLinked);
  openLinked();
}

document.getElementById("access").addEventListener("submit", (event) => event.preventDefault());
fetch("openapi.json")
  .then((response) => response.json())
  .then(build)
  .catch((error) => {
    document.getElementById("operations").textContent = `The document could not be read: ${error.message}`;
  });
