// What a screen shows instead of its content: errors with what to do, emptiness, waiting.

import { html } from "../html.js";
import { duration } from "../formats.js";
import { changeKey, hasKey } from "../service.js";
import { Icon } from "./icons.js";

export function Problem({ error, retry }) {
  const lacksRights = error.status === 401 || error.status === 403;
  return html`<div class="notice bad" role="alert">
    <${Icon} name="warning" />
    <div>
      <p>${error.message}${error.status === 429 && error.retryAfterS > 0 && ` Try again in ${duration(error.retryAfterS)}.`}</p>
      <p class="actions">
        ${lacksRights &&
        html`<button class="button" onClick=${async () => (await changeKey()) && retry?.()}><${Icon} name="key" />Use another key</button>`}
        ${retry && !lacksRights && html`<button class="button" onClick=${retry}><${Icon} name="retry" />Try again</button>`}
      </p>
    </div>
  </div>`;
}

export function Warning({ children }) {
  return html`<div class="notice warn"><${Icon} name="warning" /><div>${children}</div></div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><h2>${title}</h2>${children}</div>`;
}

// A key may be bound to tables.
export function nothingToSearch() {
  return hasKey() ? "Nothing is watched yet, or the key opens none of it" : "Nothing is watched yet";
}

export function Busy({ label = "Loading" }) {
  return html`<p class="busy" role="status"><span class="spinner" aria-hidden="true"></span>${label} …</p>`;
}
