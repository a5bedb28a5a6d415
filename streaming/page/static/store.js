// What the page knows: summaries by key, running scans, health. Views listen for changes.

const state = {
  results: new Map(),
  running: new Map(),
  health: null,
  about: { title: "", context: [], exports: [], figures: {}, bridge: null },
  connected: false,
  contact: null, // seconds since the epoch when the service was last heard of
  loaded: false,
};
const SILENT_S = 8; // it tells of its health every 2 s
const listeners = new Set();
const details = new Map();
const KEPT_DETAILS = 40;

export default state;

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(what, data) {
  for (const listener of listeners) listener(what, data);
}

export async function get(path) {
  return told(await fetch(path, { headers: { Accept: "application/json" } }));
}

async function told(response) {
  if (!response.ok) {
    const error = new Error((await response.text()) || `${response.status}`);
    error.status = response.status;
    throw error;
  }
  return response.json();
}

// Whether what is shown is of now: a service that hangs is as far away as one that ended.
export function isLive() {
  return state.connected && state.contact !== null && Date.now() / 1000 - state.contact < SILENT_S;
}

// Whether no document can come: an idle source has been heard of.
export function unheard(health) {
  return Boolean(health?.source) && !health.source.startsWith("idle");
}

export function sorted() {
  return [...state.results.values()];
}

export function latest() {
  let found = null;
  for (const told of state.results.values()) {
    if (told.cn) found = told;
  }
  return found ?? [...state.results.values()].at(-1) ?? null;
}

export function newestRunning() {
  return [...state.running.values()].at(-1) ?? null;
}

// Everything on one spectrum; kept, since a finished one never changes.
export async function detail(key) {
  if (!details.has(key)) {
    const pending = get(`/api/results/${encodeURIComponent(key)}`);
    details.set(key, pending);
    pending.catch(() => details.delete(key));
    if (details.size > KEPT_DETAILS) details.delete(details.keys().next().value);
  }
  return details.get(key);
}

// What is drawn of several spectra: {spectra, unknown}.
export function spectra(keys) {
  return get(`/api/spectra?keys=${encodeURIComponent(keys.join(" "))}`);
}

// One spectrum fitted by a sum of others, with weights that add up to 1 if asked for, and shifted by
// so many eV at most.
export function combination(target, keys, { toOne, mostShift }) {
  return get(`/api/combination?target=${encodeURIComponent(target)}&keys=${encodeURIComponent(keys.join(" "))}&to_one=${toOne ? 1 : 0}&most_shift=${mostShift}`);
}

// The principal components of spectra.
export function components(keys) {
  return get(`/api/components?keys=${encodeURIComponent(keys.join(" "))}`);
}

// Have the service read a file: {references, refused}.
export async function readReference(file) {
  const response = await fetch(`/api/references?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  if (!response.ok) throw new Error((await response.text()) || `${response.status}`);
  return response.json();
}

// Have the service merge scans: {key, new, of, sources}; the answer comes under that key.
export async function merge(keys, options = {}) {
  const response = await fetch("/api/merges", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ keys, ...options }) });
  return told(response);
}

export function runningDetail(slot) {
  return get(`/api/running?slot=${encodeURIComponent(slot)}`);
}

async function reload() {
  const known = await get("/api/results");
  const before = state.results;
  state.results = new Map(known.results.map((told) => [told.key, told]));
  for (const [key, told] of before) if (!state.results.has(key)) state.results.set(key, told);
  state.running = new Map(known.running.map((one) => [one.slot, one]));
  state.loaded = true;
  tell("all");
}

const receive = {
  result(told) {
    const slot = `${told.run}/${told.stream}/${told.spectrum}`;
    state.running.delete(slot);
    state.running.delete(slot.replace(/\.\d+$/, "")); // what grew until its places were told apart
    state.results.delete(told.key);
    state.results.set(told.key, told);
    details.delete(told.key);
    tell("result", told);
  },
  running(one) {
    state.running.delete(one.slot);
    state.running.set(one.slot, one);
    tell("running", one);
  },
  health(health) {
    state.health = health;
    tell("health", health);
  },
  map(told) {
    tell("map", told);
  },
  reset: reload,
};

async function learn() {
  state.about = await get("/api/about");
  tell("about");
}

function heard() {
  state.contact = Date.now() / 1000;
}

// A service that falls silent says nothing of it: look whether it still speaks.
function watch() {
  let before = isLive();
  return setInterval(() => {
    const now = isLive();
    if (now !== before) tell("connection");
    before = now;
  }, 1000);
}

export function connect() {
  const source = new EventSource("/api/events"); // connects again by itself
  source.addEventListener("open", () => {
    state.connected = true;
    heard();
    details.clear(); // of another service, perhaps
    learn().then(reload).catch(() => {});
    tell("connection");
  });
  source.addEventListener("error", () => {
    state.connected = false;
    tell("connection");
  });
  for (const [name, take] of Object.entries(receive)) {
    source.addEventListener(name, (event) => {
      heard();
      take(JSON.parse(event.data));
    });
  }
  const watching = watch();
  addEventListener("pagehide", () => {
    clearInterval(watching);
    source.close();
  });
}
