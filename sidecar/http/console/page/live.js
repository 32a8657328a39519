// The service's events: a connection that is made again when it breaks, and what it has told in the last hour.

import { useEffect, useRef, useState } from "./html.js";
import { ask, ServiceError } from "./service.js";

const KEPT_S = 3600;
const MAX_SAMPLES = 2400; // an hour of one each 2 s is 1,800
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
const SILENCE_MS = 45_000; // heartbeats come more often
const HIDDEN_MS = 5000; // until a tab in the background gives its connection up: a browser has six for all tabs together

const SILENT = { status: 0, message: "Nothing has come for 45 seconds: a proxy in between may keep events back. They are asked for again." };
const BROKEN = { status: 0, message: "The connection broke. It is made again." };
const ENDED = { status: 0, message: "The service ended the connection. It is asked again." };

// `onEvent(name, data)` for each event, `onTrouble(error or null)` when the connection breaks or stands, until `signal` aborts.
export async function follow(onEvent, onTrouble, signal) {
  for (let wait = FIRST_WAIT_MS; !signal.aborted; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    const silence = new AbortController();
    const stop = () => silence.abort();
    signal.addEventListener("abort", stop, { once: true });
    let timer = null;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MS);
    };
    try {
      heard(); // a proxy may even keep the head of the answer back
      const answer = await ask("events", { signal: silence.signal });
      onTrouble(null);
      wait = FIRST_WAIT_MS / 2;
      await readEvents(answer.body.getReader(), heard, onEvent);
      onTrouble({ ...ENDED });
    } catch (error) {
      if (!signal.aborted) onTrouble(troubleOf(error, silence.signal.aborted));
      if (error.status === 401 || error.status === 403) return; // until another key is given
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
    if (!signal.aborted) await pause(wait * (0.75 + Math.random() / 2), signal);
  }
}

// What the browser says of a broken connection is for those who know its insides.
function troubleOf(error, isSilent) {
  if (error instanceof ServiceError) return error;
  return { ...(isSilent ? SILENT : BROKEN) };
}

async function readEvents(reader, onHeard, onEvent) {
  const decoder = new TextDecoder();
  let unread = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onHeard();
    const events = (unread + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
    unread = events.pop();
    for (const event of events) readEvent(event, onEvent);
  }
}

function readEvent(written, onEvent) {
  let name = "message";
  const data = [];
  for (const line of written.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  if (data.length > 0) onEvent(name, JSON.parse(data.join("\n")));
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

// Whether somebody may look at this page: not once it has been in the background for a while.
function useWatched() {
  const [isWatched, setWatched] = useState(true);
  useEffect(() => {
    let timer = null;
    const look = () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(() => setWatched(false), HIDDEN_MS);
      else setWatched(true);
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, []);
  return isWatched;
}

// {samples, status, trouble}: the samples of the last hour, oldest first; the newest body of /status.
export function useLive() {
  const [live, setLive] = useState({ samples: [], status: null, trouble: null });
  const [attempt, setAttempt] = useState(0);
  const samples = useRef([]);
  const isWatched = useWatched();
  useEffect(() => {
    if (!isWatched) return undefined; // what is missed comes with the history
    const aborting = new AbortController();
    const onEvent = (name, data) => {
      if (name === "history") samples.current = data.samples.slice(-MAX_SAMPLES);
      else if (name === "sample") samples.current = kept([...samples.current, data]);
      else if (name === "status") return setLive((now) => ({ ...now, status: data }));
      else return undefined;
      return setLive((now) => ({ ...now, samples: samples.current }));
    };
    const onTrouble = (trouble) => setLive((now) => ({ ...now, trouble }));
    follow(onEvent, onTrouble, aborting.signal);
    return () => aborting.abort();
  }, [attempt, isWatched]);
  return { ...live, retry: () => setAttempt((number) => number + 1) };
}

function kept(samples) {
  const oldest = samples.at(-1).at - KEPT_S;
  const first = samples.findIndex((sample) => sample.at >= oldest);
  return samples.slice(Math.max(first, samples.length - MAX_SAMPLES));
}
