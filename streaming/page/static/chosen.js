// The scans that are ticked in Runs, and files to compare them with. Both are part of the address,
// so that a link or a reload shows the same; files only as long as the service remembers them.

const ticked = new Set();
const files = new Set();
const listeners = new Set();
let base = ""; // what the others are compared with; none: the first one

// The keys of the ticked scans, in the order in which they were ticked.
export const chosen = () => [...ticked];

export const isChosen = (key) => ticked.has(key);

// The keys of the spectra of files, which are no scans.
export const references = () => [...files];

// The key of what the others are compared with; null where there is nothing.
export const against = () => (ticked.has(base) || files.has(base) ? base : chosen()[0] ?? references()[0] ?? null);

export function choose(keys, on = true) {
  for (const key of keys) {
    if (on) ticked.add(key);
    else ticked.delete(key);
  }
  changed();
}

export function chooseNone() {
  ticked.clear();
  files.clear();
  base = "";
  changed();
}

export function refer(keys) {
  for (const key of keys) files.add(key);
  changed();
}

// Take one out, whichever it is.
export function drop(key) {
  ticked.delete(key);
  files.delete(key);
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
  for (const [set, name] of [[ticked, "keys"], [files, "files"]]) {
    set.clear();
    for (const key of (asked.get(name) ?? "").split(" ").filter(Boolean)) set.add(key);
  }
  base = asked.get("against") ?? "";
}

function remember() {
  if (!against()) return history.replaceState(null, "", "#runs");
  const said = { keys: chosen().join(" "), ...(files.size && { files: references().join(" ") }), against: against() };
  history.replaceState(null, "", `#runs/${new URLSearchParams(said)}`);
}

function changed() {
  remember();
  for (const listener of listeners) listener();
}
