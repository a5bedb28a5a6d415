// What stands beside a map: the spectrum, the answer and the clusters of a pixel or of a region.

import { card, chip, h, onResize, put } from "./dom.js";
import { flagKind, flagText, louder, reasonText } from "./flags.js";
import { bounds, decimals, duration, figure, interval, number } from "./format.js";
import { Chart } from "./chart.js";
import { Cluster, legend } from "./cluster.js";
import { difference } from "./difference.js";
import { probabilityBars } from "./bars.js";

export const EXPECTED = new Set(["heads-only", "binned", "denoised"]); // of every pixel: nothing to doubt

export class Beside {
  constructor({ onPin }) {
    this.pins = [];
    this.told = null;
    this.title = h("h2", {}, "Choose a pixel");
    this.note = h("span", { class: "note" });
    this.body = h("div", { class: "told", "aria-live": "polite" });
    this.spectrum = h("div", { class: "fill" });
    this.cn = h("div", { class: "fill" });
    this.stage = h("div", { class: "fill stage" });
    this.under = h("div", { class: "soft small-note" });
    this.pin = h("button", { title: "Keep this spectrum: it is drawn beside the next ones, and can be an end member of a fit", hidden: true, onclick: onPin }, "pin");
    this.elements = [
      card("picked", "Chosen pixel or region", h("header", {}, this.title, h("span", { class: "tools small" }, this.note, this.pin)), this.body),
      card("spectrumcard", "Spectrum", h("header", {}, h("h2", {}, "Spectrum"), this.compared = h("span", { class: "note" })), this.spectrum),
      card("cncard", "Coordination number", h("header", {}, h("h2", {}, "Coordination number"), h("span", { class: "note" }, "filled: 90 %")), this.cn),
      card("clustercard", "Surroundings", h("header", {}, h("h2", {}, "Surroundings"), this.source = h("span", { class: "note" })), this.stage, this.under),
    ];
    this.chart = new Chart(this.spectrum, { xLabel: "energy from e0, eV", yLabel: "edge steps" });
    this.cluster = new Cluster(this.stage);
    this.resizing = [onResize(this.cn, () => this.bars()), onResize(this.stage, () => this.cluster.resize())];
  }

  // A pixel with the answer of the heads.
  pixel(told, where) {
    this.told = told;
    this.prob = told.cn_prob && { prob: told.cn_prob, set: told.cn_set };
    put(this.title, where);
    this.pin.hidden = !told.spectrum;
    const doubts = told.flags.filter((flag) => !EXPECTED.has(flag));
    put(this.body,
      told.state === "answered" ? headFigures(told.figures) : h("p", { class: "why" }, told.state === "rejected" ? `Rejected: ${reasonText(told.reason)}.` : "This pixel has not come yet."),
      h("div", { class: "flags" },
        told.state === "answered" && !doubts.length ? chip("answered", "good") : null,
        told.state === "rejected" ? chip("rejected", "warn") : null,
        doubts.sort(louder).map((flag) => chip(flagText(flag), flagKind(flag))),
        told.flags.filter((flag) => EXPECTED.has(flag)).map((flag) => chip(flagText(flag))),
        told.group >= 0 ? chip(`group ${told.group}`) : null));
    this.draw(told.spectrum, null);
    this.bars();
    this.clusters(null, told.state === "answered" ? "being drawn …" : "");
  }

  // The sum over a region, at first without its answer.
  region(told, where, waiting) {
    this.told = told;
    this.pin.hidden = true;
    put(this.title, where);
    const words = `${told.pixels} pixel${told.pixels === 1 ? "" : "s"}${told.left_out ? `, ${told.left_out} without an answer left out` : ""}`;
    const answer = told.answer;
    this.prob = answer && { prob: answer.cn_prob, set: answer.cn.set };
    put(this.body,
      h("p", { class: "soft" }, `Sum of ${words}.`),
      answer ? answerFigures(answer, told) : h("p", { class: "why" }, waiting),
      answer ? h("div", { class: "flags" }, answer.flags.map((flag) => chip(flagText(flag), flagKind(flag)))) : null);
    this.draw(told.spectrum, answer);
    this.bars();
    this.clusters(answer, waiting, told.seconds);
  }

  // The clusters of a pixel, which come after its figures.
  drawn(told) {
    this.draw(told.spectrum, told.answer);
    this.clusters(told.answer, "", told.seconds);
  }

  say(title, words) {
    this.told = null;
    this.prob = null;
    this.pin.hidden = true;
    put(this.title, title);
    put(this.body, h("p", { class: "soft" }, words));
    this.chart.clear();
    this.bars();
    this.clusters(null, "");
  }

  clusters(answer, waiting, seconds = null) {
    this.cluster.set(answer?.cluster ?? null);
    this.source.textContent = answer ? `inverted now, ${duration(seconds)}; kept nowhere` : "";
    put(this.under, answer ? legend(answer.cluster) : h("p", { class: "soft" }, waiting));
  }

  trouble(words) {
    put(this.under, h("p", { class: "why" }, words));
  }

  draw(spectrum, answer) {
    this.shown = spectrum;
    if (!spectrum) {
      this.chart.clear();
      this.compared.textContent = "no normalised spectrum";
      return;
    }
    const relative = spectrum.energy.map((e) => e - spectrum.e0);
    const pins = this.pins.map((one, i) => ({ label: one.name, x: one.x, y: one.y, colour: ["second", "third", "faint"][i % 3], width: 1, dash: [5, 3] }));
    const last = this.pins.at(-1);
    const off = last ? [{ label: "difference", x: relative, y: difference(relative, spectrum.flat, last), colour: "faint", width: 1 }] : [];
    const implied = answer?.implied ? [{ label: "implied", x: answer.grid, y: answer.implied, colour: "second", dash: [6, 4] }] : [];
    this.chart.set([{ label: "flattened", x: relative, y: spectrum.flat, colour: "first" }, ...implied, ...pins, ...off]);
    this.compared.textContent = last ? `dashed: ${this.pins.map((one) => one.name).join("; ")}; thin: difference to the last` : `e0 ${number(spectrum.e0, 1)} eV`;
  }

  // The spectrum that is shown, for later ones to be compared with.
  keep(name, place) {
    const { energy, e0, flat } = this.shown;
    this.pins = [...this.pins, { name, place, x: energy.map((e) => e - e0), y: flat }].slice(-8);
    this.draw(this.shown, null);
  }

  bars() {
    const box = this.cn.getBoundingClientRect();
    const has = this.prob && box.width > 40;
    this.cn.replaceChildren(has ? probabilityBars(box, this.prob.prob, this.prob.set) : h("p", { class: "empty" }, "no answer"));
  }

  destroy() {
    for (const stop of this.resizing) stop();
    this.cluster.destroy();
    this.chart.destroy();
  }
}

function headFigures(told) {
  const names = [["cn", "cn_mean", "cn_mean_lo", "cn_mean_hi"], ["bond", "bond", "bond_lo", "bond_hi"], ["angle", "angle", "angle_lo", "angle_hi"]];
  return h("dl", { class: "figures" },
    names.map(([name, mean, lo, hi]) => {
      const { heading, meaning, digits } = figure(name);
      const places = name === "cn" ? 2 : digits;
      return one(heading, meaning, number(told[mean], places), interval({ lo: told[lo], hi: told[hi] }, places));
    }),
    one("score", "distance from what the model learned; above 1 it is too far", number(told.ood_score, 2), ""));
}

function answerFigures(answer, told) {
  const edge = told.spectrum.edge;
  return h("dl", { class: "figures" }, ["cn", "bond", "angle", ...(answer.misfit === null ? [] : ["misfit"])].map((name) => {
    const { heading, digits, meaning } = figure(name, edge);
    const value = answer[name];
    return one(heading, meaning, number(value?.mean ?? value, decimals(value, digits)), name === "misfit" ? "" : bounds(value, digits));
  }));
}

function one(heading, meaning, value, more) {
  return h("div", { class: "figure", title: meaning }, h("dt", {}, heading, more ? h("span", {}, "90 %") : null), h("dd", {}, value, " ", h("small", {}, more)));
}
