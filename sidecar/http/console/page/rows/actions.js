// What the console changes of a watch: pause, resume, rate. Each is asked for again before it is done.

import { html, useRef, useState } from "../html.js";
import { Dialog } from "../parts/dialog.js";
import { Problem } from "../parts/notices.js";
import { postJson } from "../service.js";

function useAction(onDone) {
  const [state, setState] = useState({ isBusy: false, error: null });
  const act = async (path, body) => {
    setState({ isBusy: true, error: null });
    try {
      await postJson(path, body);
      onDone();
    } catch (error) {
      setState({ isBusy: false, error });
    }
  };
  return [state, act];
}

function named(watch) {
  return { table: watch.relation, target: watch.target };
}

export function PauseDialog({ watch, isPaused, onClose, onDone }) {
  const [{ isBusy, error }, act] = useAction(onDone);
  const name = `${watch.relation}.${watch.target}`;
  return html`<${Dialog} title=${isPaused ? "Resume this watch?" : "Pause this watch?"} onClose=${onClose}>
    <p>
      ${isPaused
        ? html`The rows of <b>${name}</b> are embedded again, first those that changed in the meantime.`
        : html`No row of <b>${name}</b> is embedded until it is resumed. Changes are remembered, searches go on and find rows by their old content.`}
    </p>
    ${error && html`<${Problem} error=${error} />`}
    <div class="actions">
      <button class="button primary" disabled=${isBusy} onClick=${() => act(isPaused ? "resume" : "pause", named(watch))}>${isPaused ? "Resume" : "Pause"}</button>
      <button class="button" onClick=${onClose}>Cancel</button>
    </div>
  <//>`;
}

export function RateDialog({ watch, onClose, onDone }) {
  const [{ isBusy, error }, act] = useAction(onDone);
  const field = useRef(null);
  const submit = (event) => {
    event.preventDefault();
    const written = field.current.value.trim();
    act("rate", { ...named(watch), rows_per_s: written === "" ? null : Number(written) });
  };
  return html`<${Dialog} title="Rows per second" onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <label class="field">
        <span>At most, of <b>${`${watch.relation}.${watch.target}`}</b></span>
        <input ref=${field} type="number" min="0" step="any" autofocus placeholder="as many as the device can" defaultValue=${watch.rows_per_s ?? ""} />
      </label>
      <p class="muted">Empty: no limit. All sidecars keep to it together.</p>
      ${error && html`<${Problem} error=${error} />`}
      <div class="actions">
        <button class="button primary" type="submit" disabled=${isBusy}>Set the rate</button>
        <button class="button" type="button" onClick=${onClose}>Cancel</button>
      </div>
    </form>
  <//>`;
}
