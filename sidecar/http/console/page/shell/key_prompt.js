// Asks for an API key, which stays in this page's memory: a reload forgets it.

import { html, useEffect, useRef, useState } from "../html.js";
import { Dialog } from "../parts/dialog.js";
import { onKeyNeeded } from "../service.js";

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
    answer(field.current.value.trim() || null);
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
