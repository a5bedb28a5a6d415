// Numbers and names in words.

import state from "./store.js";

export const DASH = "–";

export function number(value, digits) {
  return value === null || value === undefined || Number.isNaN(value) ? DASH : value.toFixed(digits);
}

export function signed(value, digits) {
  const size = number(Math.abs(value), digits);
  return Number(size) === 0 ? size : `${value < 0 ? "−" : "+"}${size}`;
}

// The ends of a figure's 90 % interval, of that of the mean where it has a set beside it.
export function ends(value) {
  return value?.set ? [value.mean_lo ?? null, value.mean_hi ?? null] : [value?.lo ?? null, value?.hi ?? null];
}

// The decimal places to show: of a mean of whole numbers those that its interval bears, but one at
// least, for without any it reads as a count.
export function decimals(value, digits) {
  if (!value?.set) return digits;
  const [lo, hi] = ends(value);
  if (lo === null || hi === null) return Math.min(digits, 1);
  const found = [...Array(digits).keys()].find((n) => n > 0 && (hi - lo) / 2 >= 10 ** -n);
  return found ?? digits;
}

export function interval(value, digits) {
  const [lo, hi] = ends(value);
  return typeof lo === "number" ? `[${lo.toFixed(digits)}, ${hi.toFixed(digits)}]` : "";
}

// What a misfit is measured by: between which eight in ten of spectra of known structure have theirs.
export function usual(told) {
  if (!told?.usual_misfit) return "";
  if (told.flags?.includes("partial")) return "not comparable: part of a scan";
  return `typical ${told.usual_misfit.map((v) => v.toFixed(2)).join("–")}`;
}

// The highest coordination number that answers state; it stands for all above it, too.
const HIGHEST_CN = 12;

export function classText(cn) {
  return cn >= HIGHEST_CN ? `${cn}+` : String(cn);
}

// A set of coordination numbers in order; a long run without a hole by its ends.
export function set(values) {
  if (!values?.length) return "";
  const [first, last] = [values[0], values.at(-1)];
  const isRun = values.length > 3 && last - first === values.length - 1;
  return isRun ? `{${first} – ${classText(last)}}` : `{${values.map(classText).join(", ")}}`;
}

// The 90 % interval and set of a figure, as far as it has them.
export function bounds(value, digits) {
  return [interval(value, decimals(value, digits)), set(value?.set)].filter(Boolean).join(" ");
}

export function clock(seconds) {
  return seconds ? new Date(seconds * 1000).toLocaleTimeString([], { hour12: false }) : DASH;
}

export function dateTime(seconds) {
  if (!seconds) return DASH;
  return `${day(seconds)} ${clock(seconds)}`;
}

export function day(seconds) {
  const date = new Date(seconds * 1000);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(two).join("-");
}

// A time on an axis whose ticks are `step` seconds apart.
export function clockTick(seconds, step) {
  return clock(seconds).slice(0, step < 60 ? 8 : 5);
}

function two(n) {
  return String(n).padStart(2, "0");
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

// The scans of a merge: all of a few, the first and the last of many.
export function mergedText(sources) {
  const names = sources.map(({ scan_id, run_uid, spectrum }) => `${scan_id ?? shortRun(run_uid)}${spectrum && spectrum !== "0" ? ` #${spectrum}` : ""}`);
  return names.length > 4 ? `${names[0]} … ${names.at(-1)} (${names.length})` : names.join(", ");
}

export function spectrumName(told) {
  if (told.merged?.length) return `merge of ${mergedText(told.merged)}`;
  if (told.stream === "merged") return "merge";
  const scan = told.scan === null || told.scan === undefined ? "run" : `scan ${told.scan}`;
  const part = told.spectrum && told.spectrum !== "0" ? ` #${told.spectrum}` : "";
  return `${scan}${part}`;
}

export function shortRun(uid) {
  return uid ? uid.slice(0, 8) : DASH;
}

// How the service describes a figure of one edge: symbol, heading, unit, digits and meaning.
export function figure(name, edge) {
  if (name !== "bridge" || !edge) return state.about.figures[name];
  const { angle, distance, angle_of: bridging } = state.about.bridge;
  return bridging.includes(edge.split(" ")[0]) ? angle : distance;
}

export function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
