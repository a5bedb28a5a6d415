// Small bar charts as SVG: probabilities of a number, and histograms of sampled values.

import { s } from "./dom.js";
import { classText } from "./format.js";

const LABELLED = 0.05;
const LABEL_PX = 36;
const EDGE = { left: 42, right: 8, top: 8, bottom: 20 };

// Probability of each coordination number; those of the 90 % set are filled.
export function probabilityBars(box, probabilities, set) {
  const shown = visibleRange(probabilities, set);
  const values = shown.map((k) => probabilities[k]);
  const frame = new Frame(box, Math.max(...values, 0.01) * 1.14); // room for the labels
  const step = frame.width / shown.length;
  const bars = shown.map((k, i) => {
    const inside = set.includes(k);
    const height = frame.height * (values[i] / frame.top);
    return s("g", {},
      s("title", {}, `CN ${classText(k)}: ${(100 * values[i]).toFixed(1)} %${inside ? ", in the 90 % set" : ""}`),
      s("rect", {
        class: inside ? "bar-fill" : "bar-out", rx: 2,
        x: EDGE.left + i * step + step * 0.16, width: step * 0.68,
        y: EDGE.top + frame.height - height, height: Math.max(height, 0.75),
      }),
      labelled(values[i], values, step) ? text(EDGE.left + (i + 0.5) * step, EDGE.top + frame.height - height - 4, percent(values[i])) : null,
      text(EDGE.left + (i + 0.5) * step, EDGE.top + frame.height + 14, classText(k)));
  });
  const label = `Coordination number: ${shown.map((k, i) => `${classText(k)}: ${percent(values[i])}`).join(", ")}`;
  return frame.svg(label, [...frame.percentTicks(), ...bars, frame.baseline()]);
}

// Narrow bars leave room for the label of the highest only.
function labelled(value, values, step) {
  return value >= LABELLED && (step >= LABEL_PX || value === Math.max(...values));
}

// How often sampled values fall into each bin, with the mean and its interval.
export function histogram(box, values, weights, { unit, digits, interval }) {
  const known = values.map((v, i) => [v, weights[i] ?? 0]).filter(([v]) => v !== null);
  if (!known.length) return null;
  const [lo, hi] = range(known.map(([v]) => v), interval, digits);
  const bins = binned(known, lo, hi, Math.max(10, Math.min(24, Math.round(box.width / 14))));
  const frame = new Frame(box, Math.max(...bins));
  const at = (v) => EDGE.left + (frame.width * (v - lo)) / (hi - lo);
  const step = frame.width / bins.length;
  const parts = [];
  if (interval) parts.push(band(frame, at(interval.lo), at(interval.hi)));
  bins.forEach((share, i) => {
    const height = frame.height * (share / frame.top);
    if (share > 0) parts.push(s("rect", {
      class: "bar-fill", x: EDGE.left + i * step + 0.5, width: Math.max(1, step - 1), rx: 1,
      y: EDGE.top + frame.height - height, height,
    }));
  });
  if (interval) parts.push(meanLine(frame, at(interval.mean)));
  for (const v of ticks(lo, hi)) parts.push(text(at(v), EDGE.top + frame.height + 14, tickText(v, lo, hi)));
  const words = interval
    ? `mean ${interval.mean.toFixed(digits)} ${unit}, from ${interval.lo.toFixed(digits)} to ${interval.hi.toFixed(digits)}`
    : "no interval";
  return frame.svg(`${known.length} samples, ${words}`, [...frame.percentTicks(), ...parts, frame.baseline()]);
}

// A density over a range, with the places of its peaks.
export function density(box, { x, share, peaks }, { unit }) {
  const top = Math.max(...share);
  if (!(top > 0)) return null;
  const frame = new Frame(box, top * 1.3); // room for the names of the peaks
  const [lo, hi] = [x[0], x.at(-1)];
  const at = (v) => EDGE.left + (frame.width * (v - lo)) / (hi - lo);
  const line = x.map((v, i) => `${at(v).toFixed(1)},${(EDGE.top + frame.height * (1 - share[i] / frame.top)).toFixed(1)}`);
  const floor = EDGE.top + frame.height;
  const names = peaks.map((v) => `${v.toFixed(0)}${unit}`);
  const parts = [
    s("polygon", { class: "density", points: [`${at(lo)},${floor}`, ...line, `${at(hi)},${floor}`].join(" ") }),
    ...peaks.map((v) => s("line", { class: "mean", x1: at(v), x2: at(v), y1: EDGE.top + 14, y2: floor })),
    ...peaks.map((v) => text(frame.inside(at(v)), EDGE.top + 10, v.toFixed(0) + unit)),
    ...[0, 30, 60, 90, 120, 150, 180].filter((v) => v >= lo && v <= hi).map((v) => text(frame.inside(at(v)), floor + 14, String(v))),
  ];
  return frame.svg(`distribution from ${lo} to ${hi} ${unit} with peaks at ${names.join(", ")}`, [...parts, frame.baseline()]);
}

class Frame {
  constructor(box, top) {
    this.box = box;
    this.top = top * 1.08;
    this.width = Math.max(20, box.width - EDGE.left - EDGE.right);
    this.height = Math.max(10, box.height - EDGE.top - EDGE.bottom);
  }

  // Where the middle of a short word must be so that nothing of it is cut off.
  inside(x) {
    return Math.min(x, this.box.width - LABEL_PX / 2);
  }

  svg(label, children) {
    const { width, height } = this.box;
    return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
  }

  baseline() {
    const y = EDGE.top + this.height + 0.5;
    return s("line", { class: "axis", x1: EDGE.left, x2: EDGE.left + this.width, y1: y, y2: y });
  }

  percentTicks() {
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5].find((d) => this.top / d <= 4) ?? 0.5;
    const found = [];
    for (let v = step; v <= this.top; v += step) {
      const y = EDGE.top + this.height * (1 - v / this.top);
      found.push(s("line", { class: "axis", x1: EDGE.left, x2: EDGE.left + this.width, y1: y, y2: y, opacity: 0.6 }));
      found.push(text(EDGE.left - 4, y + 4, percent(v), "end"));
    }
    return found;
  }
}

function visibleRange(probabilities, set) {
  const likely = probabilities.map((p, k) => [p, k]).filter(([p]) => p >= 0.005).map(([, k]) => k);
  const found = [...likely, ...set];
  const lo = Math.max(0, Math.min(...found) - 1);
  const hi = Math.min(probabilities.length - 1, Math.max(...found) + 1);
  return Array.from({ length: Math.max(1, hi - lo + 1) }, (_, i) => lo + i);
}

function range(values, interval, digits) {
  const all = interval ? [...values, interval.lo, interval.hi] : values;
  const least = 10 ** -digits * 4;
  const lo = Math.min(...all), hi = Math.max(...all);
  const pad = Math.max(0.06 * (hi - lo), least);
  return [lo - pad, hi + pad];
}

function binned(known, lo, hi, count) {
  const bins = new Array(count).fill(0);
  const total = known.reduce((sum, [, w]) => sum + w, 0) || 1;
  for (const [v, w] of known) {
    bins[Math.min(count - 1, Math.floor((count * (v - lo)) / (hi - lo)))] += w / total;
  }
  return bins;
}

function ticks(lo, hi) {
  const rough = (hi - lo) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => power * m >= rough);
  const found = [];
  for (let v = Math.ceil(lo / step) * step; v <= hi - step * 0.2; v += step) found.push(v);
  return found;
}

function tickText(v, lo, hi) {
  return v.toFixed(Math.max(0, Math.ceil(-Math.log10((hi - lo) / 5))));
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0).replace(/\.0$/, "")} %`;

function text(x, y, words, anchor = "middle") {
  return s("text", { x, y, "text-anchor": anchor }, words);
}

function band(frame, from, to) {
  return s("rect", { class: "band", x: from, width: Math.max(1, to - from), y: EDGE.top, height: frame.height });
}

function meanLine(frame, x) {
  return s("line", { class: "mean", x1: x, x2: x, y1: EDGE.top, y2: EDGE.top + frame.height });
}
