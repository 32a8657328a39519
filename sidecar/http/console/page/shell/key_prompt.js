// Asks for an API key, which stays in this page's memory: a reload forgets it.

import { html, useEffect, useRef, useState } from "../html.js";
import { Dialog } from "../parts/dialog.js";
import { onKeyNeeded } from "../service.js";

const NOT_IN_KEYS = /[^\x21-\x7e]/u; // a browser sends no header with others

export function KeyPrompt() {
  const [question, setQuestion] = useState(null);
  const field = useRef(null);
  useEffect(() => {
    onKeyNeeded((message) => new Promise((resolve) => setQuestion({ message, resolve })));
  }, []);
  if (question === null) return null;
  const answer = (key) => {
    setQuestion(null);
    question.resolve(key);
  };
  const onSubmit = (event) => {
    event.preventDefault();
    const key = field.current.value.trim();
    const [strange] = key.match(NOT_IN_KEYS) ?? [];
    if (strange === undefined) answer(key || null);
    else setQuestion({ ...question, message: `No key has the character “${strange}”: letters A to z, digits and signs only.` });
  };
  return html`<${Dialog} title="This service needs a key" onClose=${() => answer(null)}>
    <form class="stack" onSubmit=${onSubmit}>
      <p class="muted">One of its API_KEYS. It stays in this page's memory, and is forgotten when the page is reloaded.</p>
      ${question.message && html`<p class="field-error" role="alert" id="key-error">${question.message}</p>`}
      <label class="field">Key
        <input ref=${field} type="password" autocomplete="off" spellcheck=${false} autofocus aria-describedby=${question.message ? "key-error" : null} />
      </label>
      <div class="actions"><button class="button primary" type="submit">Use this key</button></div>
    </form>
  <//>`;
}
