// The spectrum that the others are compared with, fitted by a sum of them: how, and what comes of it.

import state, { combination } from "./store.js";
import { h, put } from "./dom.js";
import { figure, number, signed } from "./format.js";
import { shiftField } from "./shift.js";

const LEAST = 0.005; // eV: a shift that is told
let on = false;
const asked = { toOne: false, mostShift: 0 }; // a shift could hide a lower oxidation state

export class Fit {
  constructor(update) {
    this.update = update;
    this.found = null; // { target, … } as the service says, or { target, refused }
    this.done = ""; // what the newest answer is of
    this.words = h("div", { class: "under", "aria-live": "polite" });
    this.button = h("button", { title: "Fit the spectrum that the others are compared with by a sum of them: weights that are not negative, their sum free and nothing shifted unless you ask for it", onclick: () => { on = !on; update(); } }, "fit");
    const sum = h("input", { type: "checkbox", checked: asked.toOne, onchange: () => this.ask({ toOne: sum.checked }) });
    const shift = shiftField({ empty: "0", value: asked.mostShift || null, onchange: () => this.allow(shift.read()), title: "How far the spectrum may be shifted against all others together, for two monochromators that do not agree. Empty or 0: not at all, for a shift hides what the place of the edge tells." });
    this.options = h("div", { class: "tools options" },
      h("label", { class: "shift", title: "Make the weights add up to 1. A sum that is free tells, where it is far from 1, that something is missing." }, sum, "sum is 1"), shift.element);
  }

  // What is no shift is told by the browser, and changes nothing.
  allow(mostShift) {
    if (mostShift !== undefined) this.ask({ mostShift: mostShift ?? 0 });
  }

  ask(how) {
    Object.assign(asked, how);
    this.update();
  }

  // What was read is of spectra that have changed.
  forget() {
    this.done = "";
  }

  async load(target, members) {
    const now = JSON.stringify([on, asked, target, members]);
    if (now === this.done) return;
    this.done = now;
    this.found = null;
    if (!on || !members.length) return;
    try {
      this.found = { target, ...(await combination(target, members, asked)) };
    } catch (error) {
      this.done = ""; // it may go better the next time
      this.found = { target, refused: error.message };
    }
  }

  // The fit of a spectrum, if there is one to draw.
  of(target) {
    return on && this.found?.energy && this.found.target === target ? this.found : null;
  }

  draw(possible, name) {
    this.button.disabled = !possible;
    this.button.setAttribute("aria-pressed", String(on));
    this.options.hidden = !on;
    put(this.words, on && this.found ? told(this.found, name) : null);
  }
}

// What a spectrum is called whose energies a fit has shifted.
export const movedName = (name, { shift }) => (Math.abs(shift) >= LEAST ? `${name} shifted by ${signed(shift, 2)} eV` : name);

// The weights with their sum, and what the others' answers would make of them.
function told(fit, name) {
  if (fit.refused) return h("p", { class: "why" }, `No fit: ${fit.refused}`);
  const parts = fit.members.filter((one) => one.weight > 0).map((one) => `${withError(one.weight, one.error)} ${name(one.key)}`);
  const none = fit.members.filter((one) => !(one.weight > 0)).map((one) => name(one.key));
  const figures = [
    fit.to_one ? ["sum", "1", "as you asked"] : ["sum", withError(fit.total, fit.total_error), "a sum far from 1 tells that something is missing"],
    fit.most_shift ? ["shift, eV", signed(fit.shift, 2), `what was added to the energies of the spectrum, ${fit.most_shift} eV at most`] : null,
    ["R-factor", number(fit.r_factor, 5), "sum of squares of the residual over that of the spectrum"],
    ["misfit", number(fit.misfit, 4), `root-mean-square residual, edge steps; the noise of a point is ${number(fit.noise, 4)}`],
    ...["cn", "bond"].map((one) => [[`${figure(one).symbol} of the sum`, figure(one).unit].filter(Boolean).join(", "), number(ofMembers(fit, one), figure(one).digits), "mean over the others' own answers, by weight"]),
  ];
  return [
    h("p", {}, `${name(fit.target)} = ${parts.join(" + ") || "nothing of the others"}`, none.length ? h("span", { class: "soft" }, `; nothing of ${none.join(", ")}`) : null),
    h("dl", { class: "figures" }, figures.filter(Boolean).map(([heading, value, meaning]) => h("div", { class: "figure", title: meaning }, h("dt", {}, heading), h("dd", {}, value)))),
    fit.at_bound ? h("p", { class: "why small-note" }, `its shift of ${signed(fit.shift, 2)} eV is at the bound: allow more, or distrust it`) : null,
    h("p", { class: "soft small-note" }, `misfit in edge steps; the noise of a point is ${number(fit.noise, 4)}`)];
}

const withError = (value, error) => `${number(value, 3)}${error === null ? "" : ` ± ${number(error, 3)}`}`;

function ofMembers(fit, name) {
  const inside = fit.members.filter((one) => one.weight > 0);
  const values = inside.map((one) => state.results.get(one.key)?.[name]?.mean ?? null);
  if (!inside.length || values.includes(null)) return null;
  return inside.reduce((sum, one, i) => sum + one.weight * values[i], 0) / fit.total;
}
