// The state of all watches and the samples of the last hour, which follow what happens.

import { useCallback, useEffect, useState } from "../html.js";
import { useLive } from "../live.js";
import { getJson } from "../service.js";

// {status, error}: the newest body of /status, or why there is none; {samples, trouble} are those of useLive.
export function useStatus() {
  const live = useLive();
  const [read, setRead] = useState({ status: null, error: null });
  const load = useCallback(async () => {
    try {
      setRead({ status: await getJson("status"), error: null });
    } catch (error) {
      setRead({ status: null, error });
    }
  }, []);
  useEffect(() => void load(), []);
  useEffect(() => {
    if (live.status !== null) setRead({ status: live.status, error: null });
  }, [live.status]);
  return { ...read, samples: live.samples, trouble: live.trouble, load, retry: () => (load(), live.retry()) };
}

// As /watches and the samples call it.
export function nameOf(watch) {
  return `${watch.relation}.${watch.target}`;
}
