// Flags and reasons of rejection in words; docs/flags.md has the same with what to do.

const FLAGS = {
  "aborted": "the scan was aborted",
  "bad-points": "some points had no light",
  "cn-undecided": "several coordination numbers are possible: read the 90 % set",
  "coarse-edge": "the edge was crossed in coarse steps",
  "constant-background": "no decaying background before the edge",
  "dead-element": "a dead fluorescence element is left out",
  "dark-subtracted": "dark subtracted",
  "degraded": "quick answer of few samples; the full one follows",
  "dropped-rows": "readings that are not numbers left out",
  "empty": "no points came",
  "formula-without-absorber": "the sample's formula lacks the absorber: not used",
  "gap": "documents are missing",
  "glitches": "glitches left out",
  "low-loss-without-axis": "low-loss spectrum not used: its axis is not known",
  "maybe-saturated": "the detector may be saturated",
  "maybe-self-absorbed": "the white line may be damped by the sample itself",
  "maybe-uncalibrated": "the edge is far from its table energy",
  "merged-energies": "repeated energies averaged",
  "no-map": "one spectrum: the run was to be a map",
  "no-region-of-interest": "fluorescence spectra summed over all of their channels",
  "not-explained": "the clusters do not explain the spectrum: a mixture, or unlike what was learned; do not rely on it",
  "no-stop": "the end of the run never came",
  "no-zero-loss": "energies not aligned: the low loss shows no zero-loss peak",
  "noisy": "noisy",
  "odd-frames": "readings of another size left out",
  "other-elements": "the sample holds elements that the model does not know",
  "out-of-distribution": "unlike anything the model learned: do not rely on it",
  "partial": "partial scan",
  "rebinned": "a long scan averaged in bins of 0.1 eV",
  "self-absorption-corrected": "corrected for self-absorption",
  "short-post-edge": "ends soon after the edge",
  "truncated": "run too long: its end left out",
  "unlike-averaged": "an average of unlike spectra: do not rely on it",
  "unreadable-formula": "the sample's formula cannot be read: not used",
  "unreadable": "some data could not be read",
};

const HARMLESS = new Set(["binned", "denoised", "heads-only", "region-summed", "dark-subtracted", "merged-energies", "rebinned", "self-absorption-corrected"]);

// What is said of pixels, and of what was put together on request.
const OF_MAPS = {
  "binned": "neighbouring pixels put together",
  "denoised": "principal components alone",
  "heads-only": "no clusters drawn for the map",
  "region-summed": "sum over several pixels",
};

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
  "unlike": "unlike spectra in one",
  "unreadable": "data unreadable",
  "unsupported": "edge unknown to the model",
  "wrong-edge": "another edge",
  "wrong-units": "wrong units",
};

// Those that make an answer's figures mean little.
const LOUD = new Set(["maybe-saturated", "maybe-self-absorbed", "not-explained", "out-of-distribution", "unlike-averaged"]);
// Those that say that the answer is not the last word.
const PARTIAL = new Set(["degraded", "gap", "partial", "truncated"]);

const VERDICTS = {
  good: { text: "answered", kind: "good", meaning: "A complete scan, and a spectrum like those that the model learned from." },
  partial: { text: "partial", kind: "part", meaning: "A part of the scan or a quick answer: the figures are less sure than those of the whole." },
  doubtful: { text: "do not rely on it", kind: "doubt", meaning: "Something makes the figures mean little; the flags say what." },
  rejected: { text: "rejected", kind: "warn", meaning: "This measurement could not be inverted; the reason is given." },
  failed: { text: "failed", kind: "bad", meaning: "The answer was given up after several tries; nearedge retry asks again." },
  dark: { text: "not a sample", kind: "", meaning: "A dark or another run without a sample." },
};

// How far an answer can be relied on, at a glance; null while there is none yet.
export function verdict({ status, reason, flags = [], ood, complete, cn }) {
  if (reason === "not-a-sample") return VERDICTS.dark;
  if (VERDICTS[status]) return VERDICTS[status];
  if (!cn) return null;
  if (ood?.flag || flags.some((flag) => LOUD.has(flag))) return VERDICTS.doubtful;
  if (complete === false || status === "degraded" || flags.some((flag) => PARTIAL.has(flag))) return VERDICTS.partial;
  return VERDICTS.good;
}

// a flag may say which: "dead-element: 3"
const words = (flag) => FLAGS[flag] ?? OF_MAPS[flag] ?? flag.replaceAll("-", " ");
export const flagText = (flag) => flag.split(": ").map(words).join(": ");
export const flagKind = (flag) => (HARMLESS.has(flag) ? "" : LOUD.has(flag) ? "doubt" : "warn");
// Doubts come first, then what is worth a look; what is harmless last.
const RANKS = ["doubt", "warn", ""];
export const louder = (one, other) => RANKS.indexOf(flagKind(one)) - RANKS.indexOf(flagKind(other));
export const reasonText = (reason) => REASONS[reason] ?? reason.replaceAll("-", " ");
