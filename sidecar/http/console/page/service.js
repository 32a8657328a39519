// The REST API of the service that this page came from: its errors, and the key, which only this page's memory has.

const ROOT = new URL("../", import.meta.url); // wherever a proxy puts it

const MAX_DIGITS = 17; // of a float; a number with more is a numeric of Postgres

const NO_ANSWER = "The service does not answer. Is it running, and can this machine reach it?";
const BROKE_OFF = "The answer broke off. Is the service still running?";
const SIGN_IN = "The answer was a redirection, and not from the service: a proxy in front of it may want you to sign in again. Then reload the page.";
const NOT_JSON = "The answer is not from the service: look at the proxy in front of it, which may want you to sign in. Then reload the page.";

export class ServiceError extends Error {
  constructor(status, code, message, retryAfterS = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

let key = null;
let asking = null; // a promise of the next key, which all requests that lack one wait for
let askForKey = () => Promise.resolve(null);

// `ask(message)` is called when a key is needed, and promises one, or null.
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export function hasKey() {
  return key !== null;
}

export async function changeKey(message = "") {
  asking ??= askForKey(message).finally(() => {
    asking = null;
  });
  const given = await asking;
  if (given !== null) key = given;
  return given !== null;
}

export function addressOf(path) {
  return new URL(path, ROOT).href;
}

// The answer to a request, whose body has not been read. Raises ServiceError.
export async function ask(path, { method = "GET", query = {}, body, signal } = {}) {
  const address = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) address.searchParams.set(name, value);
  }
  for (;;) {
    const used = key;
    const headers = { Accept: "application/json, */*;q=0.5" };
    if (used !== null) headers.Authorization = `Bearer ${used}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      // Cookies are those of a proxy that asks for a sign-in; the service has none.
      answer = await fetch(address, { method, headers, body: body && JSON.stringify(body), signal, credentials: "same-origin", redirect: "manual" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError(0, "no_answer", NO_ANSWER);
    }
    if (answer.ok) return answer;
    if (answer.type === "opaqueredirect") throw new ServiceError(0, "redirected", SIGN_IN);
    const error = await errorOf(answer);
    if (error.status !== 401) throw error;
    if (key === used && !(await changeKey(used === null ? "" : error.message))) throw error;
  }
}

export async function getJson(path, query, signal) {
  return jsonOf(await ask(path, { query, signal }));
}

export async function postJson(path, body, signal) {
  return jsonOf(await ask(path, { method: "POST", body, signal }));
}

async function jsonOf(answer) {
  let text;
  try {
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "broke_off", BROKE_OFF);
  }
  try {
    return exactJson(text);
  } catch {
    throw new ServiceError(0, "no_json", NOT_JSON);
  }
}

// Keys may have more digits than a number of JavaScript: those stay text, which the service takes as well.
export function exactJson(text) {
  return JSON.parse(text, (_name, value, context) => {
    if (typeof value !== "number" || context?.source === undefined) return value;
    const digits = context.source.replace(/[eE].*$/, "").replace(/\D/g, "").replace(/^0+/, "");
    return (Number.isInteger(value) && !Number.isSafeInteger(value)) || digits.length > MAX_DIGITS ? context.source : value;
  });
}

async function errorOf(answer) {
  const retryAfterS = Number(answer.headers.get("Retry-After")) || null;
  let said = null;
  try {
    said = (await answer.json()).error;
  } catch {
    // Not from the service, but from a proxy in between.
  }
  if (typeof said?.message === "string") return new ServiceError(answer.status, said.code, said.message, retryAfterS);
  const message = `The answer was HTTP ${answer.status}, and not from the service: look at the proxy in front of it.`;
  return new ServiceError(answer.status, "http_error", message, retryAfterS);
}
