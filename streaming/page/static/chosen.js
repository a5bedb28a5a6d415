// The scans that are ticked in Runs, to be compared. They are part of the address, so that a link
// or a reload shows the same.

const ticked = new Set();
const listeners = new Set();
let base = ""; // what the others are compared with; none: the first one

// The keys of the ticked scans, in the order in which they were ticked.
export const chosen = () => [...ticked];

export const isChosen = (key) => ticked.has(key);

// The key of the scan that the others are compared with; null where none is ticked.
export const against = () => (ticked.has(base) ? base : chosen()[0] ?? null);

export function choose(keys, on = true) {
  for (const key of keys) {
    if (on) ticked.add(key);
    else ticked.delete(key);
  }
  changed();
}

export function chooseNone() {
  ticked.clear();
  changed();
}

export function compareWith(key) {
  base = key;
  changed();
}

// Call something whenever the choice changes; returns what stops it.
export function onChoice(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function recall(address) {
  const asked = new URLSearchParams(address ?? "");
  if (!asked.has("keys")) return remember();
  ticked.clear();
  for (const key of asked.get("keys").split(" ").filter(Boolean)) ticked.add(key);
  base = asked.get("against") ?? "";
}

function remember() {
  const said = new URLSearchParams(ticked.size ? { keys: chosen().join(" "), against: against() } : {});
  history.replaceState(null, "", ticked.size ? `#runs/${said}` : "#runs");
}

function changed() {
  remember();
  for (const listener of listeners) listener();
}
