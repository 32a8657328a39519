// The findings of doctor: what is wrong, why it matters, and the command that repairs it.

import { html } from "../html.js";
import { plural } from "../formats.js";
import { useAnswer } from "../parts/answer.js";
import { CodeBlock } from "../parts/code.js";
import { Icon } from "../parts/icons.js";
import { Busy, Empty, Problem } from "../parts/notices.js";
import { getJson } from "../service.js";

const SEVERITIES = ["problem", "warning", "note"];

export function DoctorScreen() {
  const { answer, error, isLoading: isLooking, load: look } = useAnswer("doctor", (signal) => getJson("doctor", {}, signal));
  return html`
    <div class="screen-head">
      <h1>Doctor</h1>
      <button class="button small" disabled=${isLooking} onClick=${look}><${Icon} name="retry" />Look again</button>
    </div>
    ${error && html`<${Problem} error=${error} retry=${look} />`}
    ${isLooking && html`<${Busy} label="Looking at the database" />`}
    ${answer && !isLooking && html`<${Findings} answer=${answer} />`}
  `;
}

function Findings({ answer }) {
  const { findings, not_checked: notChecked } = answer;
  return html`
    <p class=${findings.length === 0 && notChecked.length === 0 ? "offscreen" : "muted"} role="status">${summaryOf(findings, notChecked)}</p>
    ${findings.length === 0 && html`<${Empty} title="Nothing to repair"><p>Every check of the database, and of the way to it, passed.</p><//>`}
    <ul class="findings" aria-label="Findings">
      ${findings.map((finding, number) => html`<${Finding} key=${number} finding=${finding} />`)}
    </ul>
    ${notChecked.length > 0 &&
    html`<section class="not-checked">
      <h2>Not checked</h2>
      <dl>${notChecked.map(({ check, reason }) => html`<dt>${check.replaceAll("_", " ")}</dt><dd>${reason}</dd>`)}</dl>
    </section>`}
    <${Facts} facts=${answer.facts} />
  `;
}

function Finding({ finding }) {
  const { severity, subject, check, what, why, remedy, run_in: runIn } = finding;
  return html`<li class=${`finding ${severity}`}>
    <header>
      <span class=${`severity ${severity}`}>${severity}</span>
      <h2>${subject === check ? what : html`<span class="subject">${subject}</span> ${what}`}</h2>
    </header>
    <p class="muted">${why}</p>
    <${CodeBlock} title=${runIn === "psql" ? "SQL to run" : "Command to run"} text=${remedy} />
  </li>`;
}

function Facts({ facts }) {
  const known = Object.entries(facts).filter(([, value]) => value !== null);
  if (known.length === 0) return null;
  return html`<details class="measured">
    <summary>What was measured</summary>
    <dl>${known.map(([name, value]) => html`<dt>${name.replaceAll("_", " ")}</dt><dd>${String(value)}</dd>`)}</dl>
  </details>`;
}

function summaryOf(findings, notChecked) {
  const counted = SEVERITIES.map((severity) => [severity, findings.filter((each) => each.severity === severity).length]);
  const found = counted.filter(([, number]) => number > 0).map(([severity, number]) => plural(number, severity));
  const skipped = notChecked.length > 0 ? ` ${plural(notChecked.length, "check")} could not run.` : "";
  return (found.length > 0 ? `Found: ${found.join(", ")}.` : "Nothing found.") + skipped;
}
