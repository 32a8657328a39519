// Light or dark: what the system prefers, until the button says otherwise, for this session.

import { html, useEffect, useState } from "../html.js";
import { Icon } from "../parts/icons.js";

const STORED = "sidecar.theme";
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null; // storage may be forbidden to this page
  }
}

export function ThemeButton() {
  const [chosen, setChosen] = useState(stored);
  const [systemDark, setSystemDark] = useState(systemIsDark.matches);
  useEffect(() => {
    const follow = () => setSystemDark(systemIsDark.matches);
    systemIsDark.addEventListener("change", follow);
    return () => systemIsDark.removeEventListener("change", follow);
  }, []);
  useEffect(() => {
    if (chosen === null) return;
    document.documentElement.dataset.theme = chosen;
    try {
      sessionStorage.setItem(STORED, chosen);
    } catch {
      // It then holds until the page is loaded again.
    }
    dispatchEvent(new Event("themechange"));
  }, [chosen]);
  const isDark = chosen === null ? systemDark : chosen === "dark";
  const other = isDark ? "light" : "dark";
  return html`<button class="button quiet square" aria-label=${`Use ${other} colours`} title=${`Use ${other} colours`} onClick=${() => setChosen(other)}>
    <${Icon} name=${other} />
  </button>`;
}
