// What the part after # of the page's address says: a screen, and what is looked at there.

import { useEffect, useState } from "./html.js";

export function readAddress(hash = location.hash) {
  const [, screen, rest] = hash.match(/^#?\/?([^?]*)\??(.*)$/s);
  return { screen: screen || "search", fields: Object.fromEntries(new URLSearchParams(rest)) };
}

export function addressFor(screen, fields = {}) {
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return `#/${screen}${query && `?${query}`}`;
}

export function goTo(screen, fields, { replace = false } = {}) {
  const address = addressFor(screen, fields);
  if (address === location.hash) return;
  if (replace) location.replace(address);
  else location.hash = address;
}

export function useAddress() {
  const [address, setAddress] = useState(() => readAddress());
  useEffect(() => {
    const read = () => setAddress(readAddress());
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  return address;
}
