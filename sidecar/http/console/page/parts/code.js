// Text to copy: a block of code with its button.

import { html, useEffect, useRef, useState } from "../html.js";
import { Icon } from "./icons.js";

const SHOWN_MS = 1600;

export function CopyButton({ text, label = "Copy" }) {
  const [result, setResult] = useState(null);
  const timer = useRef(null);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    clearTimeout(timer.current);
    setResult((await copied(text)) ? "Copied" : "Select the text to copy it");
    timer.current = setTimeout(() => setResult(null), SHOWN_MS);
  };
  return html`<button class="button small" onClick=${copy}>
    <${Icon} name=${result === "Copied" ? "done" : "copy"} /><span aria-live="polite">${result ?? label}</span>
  </button>`;
}

export function CodeBlock({ title, text, note }) {
  return html`<figure class="code">
    <figcaption><span>${title}</span><${CopyButton} text=${text} label=${`Copy ${title}`} /></figcaption>
    <pre tabindex="0" role="region" aria-label=${title}><code>${text}</code></pre>
    ${note && html`<p class="note">${note}</p>`}
  </figure>`;
}

// Browsers have the clipboard's own interface on secure origins only: localhost, or behind TLS.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = document.activeElement;
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "offscreen";
    (before?.closest("dialog") ?? document.body).append(field); // beside a dialog nothing can be selected
    field.focus({ preventScroll: true });
    field.select();
    const worked = document.execCommand("copy");
    field.remove();
    before?.focus({ preventScroll: true });
    return worked;
  }
}
