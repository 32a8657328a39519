// The frame of all screens: name, navigation, theme, key.

import { AddScreen } from "../add/screen.js";
import { addressFor, useAddress } from "../address.js";
import { DoctorScreen } from "../doctor/screen.js";
import { FailuresScreen } from "../failures/screen.js";
import { html, useEffect, useRef } from "../html.js";
import { Empty } from "../parts/notices.js";
import { MapScreen } from "../map/screen.js";
import { RowsScreen } from "../rows/screen.js";
import { SearchScreen } from "../search/screen.js";
import { KeyPrompt } from "./key_prompt.js";
import { ThemeButton } from "./theme.js";
import { useWatches } from "./watches.js";

const SCREENS = [
  { name: "search", title: "Search", screen: SearchScreen },
  { name: "rows", title: "Rows", screen: RowsScreen },
  { name: "failures", title: "Failures", screen: FailuresScreen },
  { name: "add", title: "Add", screen: AddScreen },
  { name: "map", title: "Map", screen: MapScreen },
  { name: "doctor", title: "Doctor", screen: DoctorScreen },
];

export function Shell() {
  const address = useAddress();
  const list = useWatches();
  const main = useRef(null);
  const shown = SCREENS.find((each) => each.name === address.screen);
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = shown ? `${shown.title} · sidecar` : "sidecar";
    if (!isFirst.current) main.current.focus(); // a screen reader begins with the new screen
    isFirst.current = false;
  }, [shown]);
  return html`
    <header class="top">
      <a class="skip" href=${location.hash || "#/"} onClick=${(event) => (event.preventDefault(), main.current.focus())}>Skip to the content</a>
      <a class="brand" href="#/search"><${Mark} />sidecar</a>
      <nav aria-label="Screens">
        ${SCREENS.map(
          ({ name, title }) => html`<a href=${addressFor(name)} aria-current=${shown?.name === name ? "page" : null}>${title}</a>`,
        )}
      </nav>
      <${ThemeButton} />
    </header>
    <main ref=${main} tabindex="-1">
      ${shown
        ? html`<${shown.screen} fields=${address.fields} list=${list} />`
        : html`<${Empty} title="There is no such screen"><p><a href="#/search">Search</a> is one.</p><//>`}
    </main>
    <${KeyPrompt} />
  `;
}

function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <circle class="ring" cx="16" cy="16" r="12" />
    <circle class="centre" cx="16" cy="16" r="4.5" />
    <circle class="near" cx="24.5" cy="7.5" r="3.5" />
  </svg>`;
}
