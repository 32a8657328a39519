// What is being typed: kept while the screen around it is drawn again, until another value is given.

import { useEffect, useState } from "../html.js";

export function useTyped(given) {
  const [typed, setTyped] = useState(given);
  useEffect(() => setTyped(given), [given]);
  return [typed, setTyped];
}
