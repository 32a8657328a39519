// The watches that may be searched, as the service lists them.

import { useCallback, useEffect, useState } from "../html.js";
import { getJson } from "../service.js";

// `watches` is null until they are known; `error` says why they are not. Read again for each screen: there may be new ones.
export function useWatches(screen) {
  const [state, setState] = useState({ watches: null, error: null });
  const load = useCallback(async () => {
    try {
      const { watches } = await getJson("watches");
      setState({ watches, error: null });
    } catch (error) {
      setState((now) => (now.watches?.length > 0 ? now : { watches: null, error }));
    }
  }, []);
  useEffect(() => void load(), [screen]);
  return { ...state, reload: load };
}
