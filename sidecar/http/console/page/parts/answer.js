// The answer to a question that a screen asks the service. The newest request wins: no answer to another question is shown.

import { useEffect, useRef, useState } from "../html.js";

// What `ask(signal)` gives, asked again when `question` changes, once it has stayed the same for `pauseMs`; null asks nothing.
// `load` asks once more.
export function useAnswer(question, ask, pauseMs = 0) {
  const [state, setState] = useState({ answer: null, error: null, isLoading: question !== null });
  const running = useRef(null);
  const load = async () => {
    running.current?.abort();
    const { signal } = (running.current = new AbortController());
    setState((now) => ({ ...now, error: null, isLoading: true }));
    try {
      const answer = await ask(signal);
      if (!signal.aborted) setState({ answer, error: null, isLoading: false });
    } catch (error) {
      if (!signal.aborted) setState({ answer: null, error, isLoading: false });
    }
  };
  useEffect(() => {
    if (question === null) {
      setState({ answer: null, error: null, isLoading: false });
      return undefined;
    }
    setState((now) => ({ ...now, isLoading: true }));
    const timer = setTimeout(load, pauseMs);
    return () => {
      clearTimeout(timer);
      running.current?.abort();
    };
  }, [question]);
  return { ...state, load };
}
