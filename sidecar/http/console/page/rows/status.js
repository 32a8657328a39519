// The state of all watches and the samples of the last hour, which follow what happens.

import { useCallback, useEffect, useRef, useState } from "../html.js";
import { useLive } from "../live.js";
import { getJson } from "../service.js";

// {status, error}: the newest body of /status, and why there is none that is newer; {samples, trouble} are those of useLive.
// What was read once stays, as `isOld` where it cannot be read again.
export function useStatus() {
  const live = useLive();
  const [read, setRead] = useState({ status: null, error: null, during: null }); // `during`: while these events were missing
  const trouble = useRef(null);
  trouble.current = live.trouble;
  const load = useCallback(async () => {
    const during = trouble.current;
    try {
      const status = await getJson("status");
      setRead({ status, error: null, during });
    } catch (error) {
      setRead((now) => ({ ...now, error }));
    }
  }, []);
  useEffect(() => {
    const lacksKey = live.trouble?.status === 401 || live.trouble?.status === 403;
    if (!lacksKey) load(); // without events the state is at least read each time they are asked for
  }, [live.trouble]);
  useEffect(() => {
    if (live.status !== null) setRead({ status: live.status, error: null, during: null });
  }, [live.status]);
  const { status, error, during } = read;
  const isMissed = error !== null || (live.trouble !== null && live.trouble !== during);
  const isOld = isMissed || Boolean(status?.database_gone_since); // of an absent database the service tells what it last read
  return { status, error, isOld, samples: live.samples, trouble: live.trouble, load, retry: () => (load(), live.retry()) };
}

// As /watches and the samples call it.
export function nameOf(watch) {
  return `${watch.relation}.${watch.target}`;
}
