// The plane of the map: a point for each row; the pointer or the arrow keys choose one.

import { html, useMemo, useRef } from "../html.js";

const SIDE = 1000; // of the picture, in its own units
const MARGIN = 30;
const REACH = 60; // how far from a point the pointer still means it

export function Plane({ points, chosen, onChoose }) {
  const svg = useRef(null);
  const places = useMemo(() => placesOf(points), [points]);
  const order = useMemo(() => places.map((_, index) => index).sort((a, b) => places[a].x - places[b].x || places[a].y - places[b].y), [places]);
  const point = (event) => {
    const frame = svg.current.getBoundingClientRect();
    const at = { x: ((event.clientX - frame.left) / frame.width) * SIDE, y: ((event.clientY - frame.top) / frame.height) * SIDE };
    const index = nearest(places, at);
    if (index !== null && index !== chosen) onChoose(index);
  };
  const step = (event) => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (way === undefined) return;
    event.preventDefault();
    const from = chosen === null ? (way > 0 ? -1 : 0) : order.indexOf(chosen);
    onChoose(order[(from + way + order.length) % order.length]);
  };
  return html`<svg
    ref=${svg}
    class="plane"
    viewBox=${`0 0 ${SIDE} ${SIDE}`}
    tabindex="0"
    role="application"
    aria-label=${`Map of ${points.length} rows: arrow keys go from one to the next`}
    onPointerMove=${point}
    onPointerDown=${point}
    onKeyDown=${step}
  >
    ${places.map(({ x, y }, index) => html`<circle key=${index} cx=${x} cy=${y} r="7" />`)}
    ${chosen !== null && html`<circle class="chosen" cx=${places[chosen].x} cy=${places[chosen].y} r="13" />`}
  </svg>`;
}

// The points in the units of the picture, both axes in the same scale, so that distances can be compared.
function placesOf(points) {
  const [xs, ys] = [points.map((point) => point.x), points.map((point) => point.y)];
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = (SIDE - 2 * MARGIN) / (Math.max(right - left, high - low) || 1);
  const [middleX, middleY] = [(left + right) / 2, (low + high) / 2];
  return points.map(({ x, y }) => ({ x: SIDE / 2 + (x - middleX) * scale, y: SIDE / 2 - (y - middleY) * scale }));
}

function nearest(places, at) {
  let [best, least] = [null, REACH];
  places.forEach((place, index) => {
    const distance = Math.hypot(place.x - at.x, place.y - at.y);
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}
