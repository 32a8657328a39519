// The search: by words, by a picture, by a row, in one of the watches.

import { goTo } from "../address.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { plural } from "../formats.js";
import { CodeBlock } from "../parts/code.js";
import { Busy, Empty, Problem, Warning, nothingToSearch } from "../parts/notices.js";
import { postJson } from "../service.js";
import { SearchBar, Switches } from "./form.js";
import { useDroppedPicture } from "./pictures.js";
import { bodyOf, isEmpty, nextPage, readSearch } from "./query.js";
import { Results } from "./results.js";
import { Stages } from "./stages.js";
import { curlOf, sqlOf } from "./statements.js";

// What the demo's model knows: the first words of somebody who has just typed `make run`.
const EXAMPLES = { "public.emoji": ["sad cat", "birthday party", "fast food", "stormy weather", "being in love"] };

const LOOK_AGAIN_MS = 2000;

export function SearchScreen({ fields, list }) {
  if (list.error) return html`<${Problem} error=${list.error} retry=${list.reload} />`;
  if (list.watches === null) return html`<${Busy} label="Looking for watches" />`;
  if (list.watches.length === 0) return html`<${NoWatches} reload=${list.reload} />`;
  if (!list.watches.some((watch) => watch.searchable)) return html`<${NotYet} watches=${list.watches} reload=${list.reload} />`;
  return html`<${Search} fields=${fields} watches=${list.watches} />`;
}

// While the model is being loaded, say; it is looked for again by itself.
function NotYet({ watches, reload }) {
  useEffect(() => {
    const timer = setInterval(reload, LOOK_AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  const problems = [...new Set(watches.map((watch) => watch.problem))];
  return html`<${Empty} title="No watch can be searched at the moment">
    ${problems.map((problem) => html`<p key=${problem}>${problem}</p>`)}
    <${Busy} label="Looking again" />
  <//>`;
}

function NoWatches({ reload }) {
  return html`<${Empty} title=${nothingToSearch()}>
    <p>Name a table with a text or a picture, and its rows are embedded; from then on they are found here.</p>
    <${CodeBlock} title="SQL" text="select sidecar.watch('public.products', source => 'title', expose => array['title', 'price']);" />
    <p><a href="#/add">Add</a> writes this statement for a table of yours, and says what it takes.</p>
    <p><button class="button" onClick=${reload}>Look again</button></p>
  <//>`;
}

// Pictures first: they show at a glance what the model makes of words.
function chosenWatch(watches, name) {
  const searchable = watches.filter((watch) => watch.searchable);
  return searchable.find((watch) => watch.watch === name) ?? searchable.find((watch) => watch.kind === "image") ?? searchable[0];
}

// An address may be older than the watches, or of somebody whose key opens others.
function otherWatch(watches, wanted, watch) {
  const problem = watches.find((each) => each.watch === wanted)?.problem ?? "there is no such watch, or the key does not open it.";
  return `${wanted} cannot be searched: ${problem} This is ${watch.watch}.`;
}

function Search({ fields, watches }) {
  const watch = chosenWatch(watches, fields.watch);
  const [picture, setPicture] = useState(null);
  const search = readSearch(watch, fields, picture);
  const { found: newest, error, isBusy, more, retry, again } = useFound(watch, search);
  const found = newest?.watch.watch === watch.watch ? newest : null; // rows of one table are never shown as those of another
  const dropped = useDroppedPicture(setPicture);
  const change = (changed) => {
    dropped.forget();
    goTo("search", writtenFields({ ...search, ...changed }, watch.watch));
  };
  const onText = (text) => (text === search.text ? again() : change({ text })); // rows may have changed since
  const choosePicture = (file) => (file === null ? setPicture(null) : dropped.read(file));
  const onLike = (key) => {
    setPicture(null);
    change({ like: key, text: "" });
    scrollTo({ top: 0 });
  };
  useEffect(() => {
    if (fields.like) document.querySelector("main").focus({ preventScroll: true }); // the row that had the focus goes
  }, [fields.like]);
  const isFresh = isEmpty(search);
  return html`
    <div class=${isFresh ? "search fresh" : "search"}>
      ${isFresh ? html`<h1>Find rows by what they mean</h1>` : html`<h1 class="offscreen">Search</h1>`}
      <${SearchBar}
        watches=${watches}
        watch=${watch}
        search=${search}
        onWatch=${(name) => goTo("search", writtenFields({ ...search, like: null, conditions: [] }, name))}
        onText=${onText}
        onChange=${change}
        onPicture=${choosePicture}
      />
      <${Switches} watch=${watch} search=${search} onChange=${change} />
      ${search.unfit.length > 0 &&
      html`<${Warning}>
        <p>Not all filters of this address are applied: the watch has no such column, or another comparison for it: ${search.unfit.join(", ")}.</p>
      <//>`}
      ${dropped.problem && html`<${Warning}>${dropped.problem}<//>`}
      ${fields.watch && fields.watch !== watch.watch && html`<${Warning}>${otherWatch(watches, fields.watch, watch)}<//>`}
      ${isFresh && html`<${Invitation} watch=${watch} onTry=${(text) => change({ text })} />`}
    </div>
    ${dropped.isOver && html`<div class="drop-here" aria-hidden="true"><span>Drop the picture to search by it</span></div>`}
    ${error && html`<${Problem} error=${error} retry=${retry} />`}
    ${isBusy && !found && html`<${Busy} label="Searching" />`}
    ${found && html`<${Found} found=${found} isBusy=${isBusy} more=${more} onLike=${onLike} />`}
  `;
}

function Invitation({ watch, onTry }) {
  const examples = EXAMPLES[watch.table] ?? [];
  return html`<div class="invitation">
    ${examples.length > 0 &&
    html`<p class="chips">
      <span class="muted">Try</span>
      ${examples.map((text) => html`<button key=${text} class="chip" onClick=${() => onTry(text)}>${text}</button>`)}
    </p>`}
    <p class="muted">
      ${watch.kind === "image" ? "Words find pictures, " : "Words find texts that mean the same, "}
      and so does a picture: choose one, drop it here, or paste it.
    </p>
  </div>`;
}

// `found` has the watch and the search that it is the answer to: others may be waited for meanwhile.
function Found({ found, isBusy, more, onLike }) {
  const { watch, search, answer, rows, body, next } = found;
  const warnings = answer.warnings.filter((warning) => !warning.startsWith("match_probability")); // not shown, then
  const statement = sqlOf(watch, body);
  return html`
    <section class=${isBusy ? "found fading" : "found"} aria-label="Results" aria-busy=${isBusy}>
      <div class="summary">
        <p role="status">${rows.length === 0 ? "Nothing found" : plural(rows.length, "row")} in ${Math.round(answer.took_ms)} ms${answer.truncated ? "; the text was longer than the model reads" : ""}${answer.unreadable ? "; the model knows hardly a word of the text, so the rows may have nothing to do with it" : ""}</p>
        <${Stages} answer=${answer} />
      </div>
      ${warnings.map((warning) => html`<${Warning} key=${warning}>${warning}<//>`)}
      ${rows.length === 0 && html`<${Empty} title="No row matches"><p>Other words, or fewer filters, may find some.</p><//>`}
      <${Results} watch=${watch} search=${search} answer=${answer} rows=${rows} onLike=${onLike} />
      ${next && html`<p class="more"><button class="button" disabled=${isBusy} onClick=${more}>Show more</button></p>`}
      <details class="statements">
        <summary>This search in SQL and curl</summary>
        <div class="stack">
          <${CodeBlock} title="SQL" text=${statement.sql} note=${statement.note} />
          <${CodeBlock} title="curl" text=${curlOf(body, search.picture)} />
        </div>
      </details>
    </section>
  `;
}

function writtenFields(search, watch) {
  return {
    watch,
    text: search.text,
    like: search.like && JSON.stringify(search.like),
    filter: search.conditions.length > 0 ? JSON.stringify(search.conditions) : null,
    hybrid: search.hybrid ? "1" : null,
    rerank: search.rerank ? "1" : null,
    varied: search.varied ? "1" : null,
  };
}

// Runs the search whenever its request changes; the newest request wins.
function useFound(watch, search) {
  const [state, setState] = useState({ found: null, error: null, isBusy: false });
  const running = useRef(null);
  const wanted = useRef(null); // the page that was asked for last, to be tried again
  const body = isEmpty(search) ? null : bodyOf(watch, search);
  const asked = JSON.stringify(body);

  // The rows `before` stay above those of a further page.
  const run = async (page, before) => {
    running.current?.abort();
    wanted.current = () => run(page, before);
    const aborting = (running.current = new AbortController());
    setState((now) => ({ ...now, error: null, isBusy: true }));
    try {
      const request = { ...body, ...page };
      const answer = await postJson("search", request, aborting.signal);
      if (aborting.signal.aborted) return;
      const rows = page.after ? [...before, ...answer.results] : answer.results;
      setState({ found: { watch, search, answer, rows, body, next: nextPage(request, answer) }, error: null, isBusy: false });
    } catch (error) {
      if (!aborting.signal.aborted) setState((now) => ({ found: before.length > 0 ? now.found : null, error, isBusy: false }));
    }
  };

  useEffect(() => {
    if (body === null) {
      running.current?.abort();
      setState({ found: null, error: null, isBusy: false });
    } else {
      run({}, []);
    }
  }, [asked]);
  useEffect(() => () => running.current?.abort(), []);
  const again = () => body !== null && run({}, []);
  return { ...state, again, retry: () => wanted.current(), more: () => run(state.found.next, state.found.rows) };
}
