// Flags and reasons of rejection in words; docs/flags.md has the same with what to do.

const FLAGS = {
  "aborted": "the scan was aborted",
  "bad-points": "some points had no light",
  "constant-background": "no decaying background before the edge",
  "dead-element": "a dead fluorescence element is left out",
  "dark-subtracted": "dark subtracted",
  "degraded": "quick answer of few samples; the full one follows",
  "dropped-rows": "points that were no numbers left out",
  "empty": "no points came",
  "gap": "documents are missing",
  "low-loss-without-axis": "low-loss spectrum not used: its axis is not known",
  "maybe-saturated": "the detector may be saturated",
  "merged-energies": "repeated energies averaged",
  "no-region-of-interest": "fluorescence spectra summed over all of their channels",
  "no-stop": "the end of the run never came",
  "noisy": "noisy",
  "odd-frames": "readings of another size left out",
  "out-of-distribution": "unlike anything the model learned: do not rely on it",
  "partial": "partial scan",
  "short-post-edge": "ends soon after the edge",
  "truncated": "run too long: its end left out",
  "unreadable": "some data could not be read",
};

const HARMLESS = new Set(["dark-subtracted", "merged-energies"]);

const REASONS = {
  "bad-energies": "unusable energies",
  "missing-signal": "signal missing",
  "negative-step": "edge points down",
  "no-data": "no data",
  "no-edge": "no edge found",
  "not-a-sample": "not a sample",
  "not-finite": "not numbers",
  "saturated": "detector saturated",
  "too-few-points": "too few points",
  "too-short": "scan too short",
  "unreadable": "data unreadable",
  "unsupported": "edge unknown to the model",
  "wrong-edge": "another edge",
  "wrong-units": "wrong units",
};

// a flag may say which: "dead-element: 3"
const words = (flag) => FLAGS[flag] ?? flag.replaceAll("-", " ");
export const flagText = (flag) => flag.split(": ").map(words).join(": ");
export const flagKind = (flag) => (HARMLESS.has(flag) ? "" : "warn");
export const reasonText = (reason) => REASONS[reason] ?? reason.replaceAll("-", " ");
