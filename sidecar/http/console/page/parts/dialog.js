// A modal dialog: the browser's own, which keeps the focus and closes on Escape.

import { html, useEffect, useId, useRef } from "../html.js";
import { Icon } from "./icons.js";

export function Dialog({ title, onClose, children, wide = false }) {
  const element = useRef(null);
  const titleId = useId();
  useEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before?.focus?.();
  }, []);
  // Outside of it, on the backdrop. A text that is selected beyond the edge was pressed inside.
  const pressed = useRef(null);
  const onPointerDown = (event) => (pressed.current = event.target);
  const onClick = (event) => event.target === element.current && pressed.current === element.current && onClose();
  return html`<dialog ref=${element} class=${wide ? "dialog wide" : "dialog"} aria-labelledby=${titleId} onClose=${onClose} onPointerDown=${onPointerDown} onClick=${onClick}>
    <div class="dialog-body">
      <header>
        <h2 id=${titleId} dir="auto">${title}</h2>
        <button class="button quiet square" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button>
      </header>
      ${children}
    </div>
  </dialog>`;
}
