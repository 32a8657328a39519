// The frame of all screens: name, navigation, theme, key.

import { addressFor, useAddress } from "../address.js";
import { html, useEffect, useErrorBoundary, useRef, useState } from "../html.js";
import { Busy, Empty, Problem } from "../parts/notices.js";
import { SearchScreen } from "../search/screen.js";
import { KeyPrompt } from "./key_prompt.js";
import { ThemeButton } from "./theme.js";
import { useWatches } from "./watches.js";

// The first screen is there at once; each of the others is loaded when it is first looked at. One that has a parent is reached from there.
const SCREENS = [
  { name: "search", title: "Search", screen: SearchScreen },
  { name: "rows", title: "Rows", load: async () => (await import("../rows/screen.js")).RowsScreen },
  { name: "watch", title: "Watch", parent: "rows", load: async () => (await import("../watch/screen.js")).WatchScreen },
  { name: "failures", title: "Failures", load: async () => (await import("../failures/screen.js")).FailuresScreen },
  { name: "add", title: "Add", load: async () => (await import("../add/screen.js")).AddScreen },
  { name: "map", title: "Map", load: async () => (await import("../map/screen.js")).MapScreen },
  { name: "doctor", title: "Doctor", load: async () => (await import("../doctor/screen.js")).DoctorScreen },
];

const NOT_SHOWN = "This screen cannot show what the service answered. It may have another version since this page was loaded: reload the page.";
const NOT_LOADED = "This screen could not be loaded from the service. Is it running? Then reload the page.";

export function Shell() {
  const address = useAddress();
  const list = useWatches(address.screen);
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
        ${SCREENS.filter((each) => !each.parent).map(
          ({ name, title }) => html`<a href=${addressFor(name)} aria-current=${shown?.name === name ? "page" : shown?.parent === name ? "true" : null}>${title}</a>`,
        )}
      </nav>
      <${ThemeButton} />
    </header>
    <main ref=${main} tabindex="-1">
      ${shown
        ? html`<${Screen} key=${shown.name} shown=${shown} fields=${address.fields} list=${list} />`
        : html`<${Empty} title="There is no such screen"><p><a href="#/search">Search</a> is one.</p><//>`}
    </main>
    <${KeyPrompt} />
  `;
}

function Screen({ shown, fields, list }) {
  const [state, setState] = useState({ screen: shown.screen ?? null, error: null });
  useEffect(() => {
    let isLeft = false;
    const settle = (changed) => isLeft || setState(changed);
    shown.load?.().then(
      (screen) => settle({ screen, error: null }),
      () => settle({ screen: null, error: new Error(NOT_LOADED) }),
    );
    return () => {
      isLeft = true;
    };
  }, []);
  const [thrown, showAgain] = useErrorBoundary((error) => console.error(error));
  useEffect(() => void (thrown && showAgain()), [fields]);
  if (thrown) return html`<h1>${shown.title}</h1><${Problem} error=${{ message: NOT_SHOWN }} />`;
  if (state.error) return html`<h1>${shown.title}</h1><${Problem} error=${state.error} />`;
  if (state.screen === null) return html`<h1 class="offscreen">${shown.title}</h1><${Busy} />`;
  return html`<${state.screen} fields=${fields} list=${list} />`;
}

function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <circle class="ring" cx="16" cy="16" r="12" />
    <circle class="centre" cx="16" cy="16" r="4.5" />
    <circle class="near" cx="24.5" cy="7.5" r="3.5" />
  </svg>`;
}
