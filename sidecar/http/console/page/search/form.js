// The search bar: a watch, words, a picture; and the switches below it.

import { html, useRef } from "../html.js";
import { keyText } from "../formats.js";
import { Icon } from "../parts/icons.js";
import { Thumbnail } from "../parts/thumbnail.js";
import { useTyped } from "../parts/typed.js";
import { Conditions, firstCondition } from "./filters.js";
import { takesReranking, takesWords } from "./query.js";

export function SearchBar({ watches, watch, search, onWatch, onText, onChange, onPicture }) {
  const [typed, setTyped] = useTyped(search.text);
  const file = useRef(null);
  const words = useRef(null);
  const remove = (act) => () => {
    act();
    words.current.focus(); // the button that had the focus goes
  };
  const submit = (event) => {
    event.preventDefault();
    onText(typed.trim());
  };
  return html`<form class="search-bar" role="search" onSubmit=${submit}>
    <label class="watch-choice">
      <span class="offscreen">Search in</span>
      <select value=${watch.watch} onChange=${(event) => onWatch(event.target.value)}>
        ${watches.map((each) => html`<option key=${each.watch} value=${each.watch} disabled=${!each.searchable} title=${each.problem}>${each.watch.replace(/^public\./, "")}</option>`)}
      </select>
    </label>
    <div class="query">
      ${search.like &&
      html`<${Token} label=${`like ${keyText(search.like)}`} onRemove=${remove(() => onChange({ like: null }))}>
        ${watch.has_thumbnails && html`<${Thumbnail} watch=${watch} rowKey=${search.like} size=${64} label="" />`}
      <//>`}
      ${search.picture &&
      html`<${Token} label=${search.picture.name} onRemove=${remove(() => onPicture(null))}><img src=${search.picture.address} alt="" /><//>`}
      <input
        ref=${words}
        type="search"
        name="text"
        dir="auto"
        aria-label="What to look for"
        placeholder=${search.like || search.picture ? "and words that it is to be nearer to" : "Describe what you look for"}
        autocomplete="off"
        enterkeyhint="search"
        value=${typed}
        onInput=${(event) => setTyped(event.target.value)}
      />
      <button class="button quiet square" type="button" aria-label="Search by a picture" title="Search by a picture: choose, drop or paste one" onClick=${() => file.current.click()}>
        <${Icon} name="picture" />
      </button>
      <input
        ref=${file}
        class="offscreen"
        type="file"
        accept="image/*"
        tabindex="-1"
        aria-hidden="true"
        onChange=${(event) => {
          if (event.target.files[0]) onPicture(event.target.files[0]);
          event.target.value = "";
        }}
      />
    </div>
    <button class="button primary" type="submit"><${Icon} name="search" />Search</button>
  </form>`;
}

function Token({ label, onRemove, children }) {
  return html`<span class="token">
    ${children}<span class="token-label" dir="auto">${label}</span>
    <button type="button" class="button quiet square" aria-label=${`Remove ${label}`} onClick=${onRemove}><${Icon} name="close" /></button>
  </span>`;
}

export function Switches({ watch, search, onChange }) {
  const { conditions } = search;
  const add = useRef(null);
  return html`<div class="switches">
    <div class="chips">
      <button ref=${add} class="chip" onClick=${() => onChange({ conditions: [...conditions, firstCondition(watch)] })}><${Icon} name="filter" />Add a filter</button>
      <${Switch} name="hybrid" label="Match words" about="Merge the nearest rows with full-text matches" search=${search} onChange=${onChange} allowed=${takesWords(watch, search)} />
      <${Switch} name="rerank" label="Rerank" about="Order the nearest rows by a cross-encoder" search=${search} onChange=${onChange} allowed=${takesReranking(watch, search)} />
      <${Switch} name="varied" label="Vary" about="Rows that resemble one above them give way to others" search=${search} onChange=${onChange} allowed=${true} />
    </div>
    ${conditions.length > 0 && html`<${Conditions} watch=${watch} conditions=${conditions} onChange=${(changed) => onChange({ conditions: changed })} onRemoved=${() => add.current.focus()} />`}
  </div>`;
}

function Switch({ name, label, about, search, onChange, allowed }) {
  const isOn = search[name] && allowed;
  return html`<button
    class="chip"
    role="switch"
    aria-checked=${String(isOn)}
    disabled=${!allowed}
    title=${allowed ? about : `${about}: needs words to look for, and an exposed text column`}
    onClick=${() => onChange({ [name]: !search[name] })}
  >
    <span class="switch-mark" aria-hidden="true"></span>${label}
  </button>`;
}
