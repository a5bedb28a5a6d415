// The principal components of the chosen spectra: how many, which, and how much of each is in each.

import state, { components } from "./store.js";
import { Chart } from "./chart.js";
import { card, h, put, swatch } from "./dom.js";
import { GROUPS } from "./colours.js";
import { decimals, figure, number, signed } from "./format.js";

export const FEWEST = 3; // spectra, as the service says
const SHOWN = 4; // components
const NOTHING = 1e-10; // a share that is rounding
const SCREE = 12; // parts of the variance
const COLOURS = [0, 5, 2, 3].map((k) => GROUPS[k]);
let on = false;

export class Components {
  constructor(update) {
    this.found = null; // what the service says, or { refused }
    this.done = ""; // what it is of
    this.button = h("button", { onclick: () => { on = !on; this.fresh = on; update(); } }, "components");
    this.note = h("span", { class: "note" });
    const close = h("button", { class: "plain", "aria-label": "close the components", onclick: () => { on = false; update(); } }, "✕");
    this.words = h("p", { class: "why small-note", role: "status" });
    this.places = ["scree", "curves"].map((name) => h("div", { class: `fill ${name}` }));
    this.none = h("p", { class: "empty", hidden: true }, "no component stands out of the noise");
    this.places[1].append(this.none);
    this.table = h("table");
    this.parts = h("div", { class: "parts" }, this.places, h("div", { class: "scroll" }, this.table));
    this.element = card("components", "Components", h("header", {}, h("h2", {}, "Components"), this.note, close), this.words, this.parts);
    this.element.hidden = true;
    this.charts = [
      new Chart(this.places[0], { xLabel: "component", yLabel: "share of variance, log10" }),
      new Chart(this.places[1], { xLabel: "energy, eV", yLabel: "component" }),
    ];
  }

  // What was read is of spectra that have changed.
  forget() {
    this.done = "";
  }

  async load(keys) {
    const now = JSON.stringify([on, keys]);
    if (now === this.done) return;
    this.done = now;
    this.found = null;
    if (!on || !keys.length) return;
    try {
      this.found = await components(keys);
    } catch (error) {
      this.done = ""; // it may go better the next time
      this.found = { refused: error.message };
    }
  }

  // `possible`: whether there are spectra enough; `name` tells what one of a key is called.
  draw(possible, name) {
    this.button.disabled = !possible && !on;
    this.button.setAttribute("aria-pressed", String(on));
    this.button.title = `Principal components of the chosen spectra, which know nothing of the model: choose ${FEWEST} or more of one edge`;
    this.element.hidden = !on || !this.found;
    if (this.element.hidden) return;
    const told = this.found;
    this.parts.hidden = Boolean(told.refused);
    put(this.words, told.refused ? h("span", { role: "alert" }, `No components: ${told.refused}`) : summary(told));
    put(this.note, told.refused ? "" : `${told.series.length} spectra, ${number(told.energy[0], 1)} to ${number(told.energy.at(-1), 1)} eV`);
    if (!told.refused) this.fill(told, name);
    if (this.fresh) this.element.scrollIntoView({ block: "nearest" });
    this.fresh = false;
  }

  fill(told, name) {
    this.charts[0].set(scree(told), { whole: true });
    this.charts[1].set(told.vectors.slice(0, SHOWN).map((y, k) => ({ label: `component ${k + 1}`, x: told.energy, y, colour: COLOURS[k] })));
    this.none.hidden = told.rank > 0;
    put(this.table, head(told), h("tbody", {}, told.series.map(({ key }, i) => row(key, told.scores[i], name(key)))));
  }

  destroy() {
    for (const chart of this.charts) chart.destroy();
  }
}

// The mean has taken one; below the threshold is noise.
function scree(told) {
  const shares = told.shares.slice(0, Math.min(told.indicator.length + 1, SCREE));
  const x = shares.map((share, k) => k + 1);
  const all = told.strengths.reduce((sum, one) => sum + one ** 2, 0);
  const noise = log(told.threshold ** 2 / (all || 1));
  return [
    { label: "share", x, y: shares.map(log), colour: "first", points: true, width: 1 },
    { label: "noise ends at", x, y: x.map(() => noise), colour: "faint", dash: [3, 3] },
  ];
}

const log = (share) => (share > NOTHING ? Math.log10(share) : null);

function summary(told) {
  const most = told.strengths.length >> 1;
  const shares = told.shares.slice(0, Math.min(told.indicator.length + 1, 2 * SHOWN)).map((share, k) => h("span", {}, k ? ", " : "", k < Math.min(told.rank, SHOWN) ? swatch(COLOURS[k]) : null, number(100 * share, 2)));
  const bound = `The threshold is a multiple of the median singular value (Gavish and Donoho): of ${told.series.length} spectra no more than ${most} can stand out. Beside it stands Malinowski's indicator function.`;
  return [h("span", { title: bound }, told.words), h("span", { class: "soft" }, ` (at most ${most} can stand out of the noise of ${told.series.length} spectra); variance in the first ones, %: `, shares)];
}

function head(told) {
  const [cn, bond] = [figure("cn"), figure("bond")];
  const scores = told.vectors.slice(0, SHOWN).map((one, k) => [swatch(COLOURS[k]), `score ${k + 1}`]);
  const cells = [["spectrum"], ...scores, [`${cn.symbol} by the model`], [bond.heading]];
  return h("thead", {}, h("tr", {}, cells.map((parts, i) => h("th", { scope: "col", class: i ? "num" : "" }, parts))));
}

function row(key, scores, name) {
  const told = state.results.get(key);
  const [cn, bond] = [figure("cn"), figure("bond")];
  return h("tr", { "data-key": key },
    h("td", {}, name),
    scores.slice(0, SHOWN).map((score, k) => h("td", { class: "num", "data-head": `score ${k + 1}` }, signed(score, 3))),
    h("td", { class: "num", "data-head": cn.symbol }, number(told?.cn?.mean, decimals(told?.cn, cn.digits))),
    h("td", { class: "num", "data-head": bond.heading }, number(told?.bond?.mean, bond.digits)));
}
