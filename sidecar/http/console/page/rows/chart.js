// A chart of series over the last hour. The library is loaded with the first one.

import { html, useEffect, useId, useRef, useState } from "../html.js";

const HEIGHT = 168;
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5"];

// `series` are {label, values, dashed, colour}; `times` in seconds; `format` writes a value.
export function Chart({ title, about, times, series, format, share = false }) {
  const frame = useRef(null);
  const titleId = useId();
  const [library, setLibrary] = useState(null);
  const [isMissing, setMissing] = useState(false);
  const chart = useRef(null);
  const [look, setLook] = useState(0);
  useEffect(() => {
    let isWanted = true;
    import("../vendor/uPlot.js").then(
      (module) => isWanted && setLibrary(() => module.default),
      () => isWanted && setMissing(true),
    );
    const renew = () => setLook((number) => number + 1); // colours are drawn, so they do not follow a style sheet
    const systemTheme = matchMedia("(prefers-color-scheme: dark)");
    systemTheme.addEventListener("change", renew);
    addEventListener("themechange", renew);
    return () => {
      isWanted = false;
      systemTheme.removeEventListener("change", renew);
      removeEventListener("themechange", renew);
    };
  }, []);
  const shape = JSON.stringify([look, share, series.map(({ label, dashed, colour }) => [label, dashed, colour])]);
  useEffect(() => {
    if (library === null) return undefined;
    const element = frame.current;
    const made = new library(optionsOf(element, series, format, share), dataOf(times, series), element);
    chart.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [library, shape]);
  useEffect(() => {
    if (!document.hidden) chart.current?.setData(dataOf(times, series));
  });
  return html`<figure class="chart" aria-labelledby=${titleId}>
    <figcaption>
      <h3 id=${titleId}>${title}</h3>
      <p class="muted">${about}</p>
    </figcaption>
    <ul class="legend">
      ${series.map(
        ({ label, values, dashed, colour }) => html`<li key=${label} class=${`series-${colour + 1}${dashed ? " dashed" : ""}`}><span class="line" aria-hidden="true"></span>${label} <b>${format(lastOf(values))}</b></li>`,
      )}
    </ul>
    ${isMissing && html`<p class="note">The chart could not be loaded from the service: reload the page.</p>`}
    <div class="plot" ref=${frame} aria-hidden="true"></div>
  </figure>`;
}

function lastOf(values) {
  return values.at(-1) ?? null;
}

function dataOf(times, series) {
  return [times, ...series.map(({ values }) => values)];
}

// What a custom property has become, light or dark.
function colourOf(element, name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function optionsOf(element, series, format, share) {
  const [line, text] = [colourOf(element, "--line"), colourOf(element, "--muted")];
  const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (_chart, _least, most) => [0, share ? Math.max(1, most ?? 0) : (most || 1) * 1.1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, space: 70, values: (_chart, splits) => splits.map(timeOfDay) },
      { ...axis, size: 58, space: 34, values: (_chart, splits) => splits.map((value) => format(value)) },
    ],
    series: [
      {},
      ...series.map(({ label, dashed, colour }) => {
        const stroke = colourOf(element, COLOURS[colour % COLOURS.length]);
        return { label, stroke, width: 1.75, dash: dashed ? [5, 4] : undefined, points: { show: false }, spanGaps: true };
      }),
    ],
  };
}

function timeOfDay(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}
