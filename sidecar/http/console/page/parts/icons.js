// Small pictures beside words; none carries a meaning of its own.

import { html } from "../html.js";

const PATHS = {
  search: ["M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Z", "m15.5 15.5 4.5 4.5"],
  picture: ["M4 5h16v14H4z", "m4 16 5-5 4 4 3-3 4 4", "M15.5 9.5h.01"],
  close: ["M6 6l12 12", "M18 6 6 18"],
  filter: ["M4 6h16", "M7 12h10", "M10 18h4"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  done: ["m5 12.5 4.5 4.5L19 7.5"],
  alike: ["M8.5 15a5.5 5.5 0 1 1 0-11 5.5 5.5 0 0 1 0 11Z", "M15.5 20a5.5 5.5 0 1 0-4.9-8"],
  light: ["M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8Z", "M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5"],
  dark: ["M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z"],
  key: ["M8 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8Z", "m11 10.5 8-7M16 6l3 3"],
  plus: ["M12 5v14M5 12h14"],
  warning: ["M12 4 2.5 20h19L12 4Z", "M12 10v4.5M12 17.5h.01"],
  pause: ["M8 5v14M16 5v14"],
  play: ["M7 5v14l12-7L7 5Z"],
  retry: ["M20 11a8 8 0 1 0-2.3 6.3", "M20 5v6h-6"],
  gauge: ["M4 18a9 9 0 1 1 16 0", "m12 14 4-5"],
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    ${PATHS[name].map((path) => html`<path d=${path} />`)}
  </svg>`;
}
