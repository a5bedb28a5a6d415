// Chosen spectra over each other, their differences to one of them, and their answers side by side;
// and that one fitted by the others. What all of them are made of is a card of its own.

import state, { readReference, spectra, subscribe } from "./store.js";
import { against, chosen, compareWith, drop, onChoice, refer, references } from "./chosen.js";
import { Chart } from "./chart.js";
import { card, chip, h, oneAtATime, put, swatch } from "./dom.js";
import { GROUPS, table } from "./colours.js";
import { Components, FEWEST } from "./components.js";
import { difference } from "./difference.js";
import { Fit, movedName } from "./fit.js";
import { theme } from "./theme.js";
import { verdict } from "./flags.js";
import { bounds, decimals, figure, interval, number, set, spectrumName } from "./format.js";

const MOST = 24; // more lines are told apart by nobody
const AT_ONCE = 4; // spectra of one request
const ENERGIES = { energy: "energy, eV", e0: "energy from e0, eV" };
let along = "energy"; // shifting spectra onto each other hides what differs

export class Overlay {
  constructor() {
    this.known = new Map(); // what has been read, by key
    this.gone = false;
    this.troubles = { unread: "", refused: "" };
    this.top = h("div", { class: "fill" });
    this.bottom = h("div", { class: "fill" });
    this.note = h("span", { class: "note" });
    this.trouble = h("p", { class: "why small-note", role: "alert", hidden: true });
    this.rows = h("tbody");
    this.fit = new Fit(() => this.update());
    this.components = new Components(() => this.update());
    this.axis = h("select", { "aria-label": "Energies", onchange: () => { along = this.axis.value; this.draw(); } },
      Object.entries(ENERGIES).map(([name, text]) => h("option", { value: name, selected: name === along }, text.split(",")[0])));
    const [cn, bond, angle] = ["cn", "bond", "angle"].map((name) => figure(name));
    this.element = h("div", { class: "overlay", hidden: !wanted().length },
      card("lines", "Overlay", h("header", {}, h("h2", {}, "Overlay"), this.note, this.axis), this.top, this.below = h("h3", {}, "Difference"), this.bottom),
      card("sides", "Side by side", h("header", {}, h("h2", {}, "Side by side"), h("span", { class: "note" }, "choose one to compare with"), h("span", { class: "tools small" }, this.fit.button, this.components.button)), this.fit.options, this.trouble,
        h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {},
          [["compare with", ""], ["spectrum", ""], [cn.heading, "num"], ["90 %", ""], [bond.heading, "num"], [angle.heading, "num"], ["", ""]].map(([text, kind]) => h("th", { class: kind, scope: "col" }, text === "compare with" ? h("span", { class: "unseen" }, text) : text)))), this.rows)), this.fit.words));
    this.charts = [
      new Chart(this.top, { xLabel: ENERGIES[along], yLabel: "flattened, edge steps", sync: "overlay" }),
      new Chart(this.bottom, { xLabel: ENERGIES[along], yLabel: "difference", sync: "overlay" }),
    ];
    this.update = oneAtATime(() => this.load(), () => this.gone);
    this.stops = [onChoice(this.update), subscribe((what, told) => this.hear(what, told))];
    this.update();
  }

  // A scan that is inverted anew has another answer, and perhaps another spectrum.
  hear(what, told) {
    if (what === "result" && this.known.delete(told.key)) {
      this.fit.forget();
      this.components.forget();
      this.update();
    }
    if (what === "all" || what === "connection") this.update();
  }

  async load() {
    const missing = wanted().filter((key) => !this.known.has(key));
    const unknown = [];
    try {
      for (let at = 0; at < missing.length && !this.gone; at += AT_ONCE) { // the catalog may be slow
        const found = await spectra(missing.slice(at, at + AT_ONCE));
        for (const [key, one] of Object.entries(found.spectra)) this.known.set(key, one);
        unknown.push(...found.unknown);
        if (at + AT_ONCE < missing.length && !this.gone) this.draw();
      }
      this.say("unread", unknown.length ? unknownText(unknown) : "");
    } catch (error) {
      this.say("unread", `The spectra cannot be read: ${error.message}`);
    }
    const keys = wanted().filter((key) => this.known.has(key));
    await this.fit.load(against(), keys.filter((key) => key !== against()));
    if (!this.gone) await this.components.load(keys);
    if (!this.gone) this.draw();
  }

  // Have files read, each for itself: one that is refused does not lose the others.
  async refer(chosenFiles) {
    const words = [];
    for (const file of chosenFiles) {
      try {
        const told = await readReference(file);
        words.push(...told.refused);
        refer(told.references.map((one) => one.key));
      } catch (error) {
        words.push(error.message);
      }
    }
    this.say("refused", words.length ? `Refused: ${words.join("; ")}` : "");
    this.update();
  }

  // What went wrong with files stays until the next ones, whatever is read meanwhile.
  say(what, words) {
    this.troubles[what] = words;
    const all = Object.values(this.troubles).filter(Boolean).join("; ");
    if (this.trouble.textContent !== all) this.trouble.textContent = all;
    this.trouble.hidden = !all;
    if (all) this.element.hidden = false;
  }

  draw() {
    const keys = wanted();
    this.element.hidden = !keys.length && this.trouble.hidden;
    if (!keys.length) this.components.draw(false);
    if (this.element.hidden) return;
    const base = this.known.get(against());
    const fit = base ? this.fit.of(against()) : null;
    const axis = fit ? "energy" : along; // a fit is one of the measured energies
    this.axis.value = axis;
    this.axis.disabled = axis !== along;
    const drawn = keys.filter((key) => this.known.get(key) && this.known.get(key).edge === base?.edge);
    const moved = (key) => (fit?.target === key ? fit : { shift: 0 }); // the one that is fitted lies where it was put
    const lines = coloured(drawn.map((key) => ({ key, label: movedName(nameOf(key, this.known.get(key)), moved(key)), ...points(this.known.get(key), axis, moved(key).shift) })));
    this.colours = new Map(lines.map((line) => [line.key, line.colour]));
    const own = lines.find((line) => line.key === against());
    const off = own ? lines.filter((line) => line !== own).map((line) => ({ ...line, y: difference(line.x, line.y, own) })) : [];
    const labels = { xLabel: ENERGIES[axis] };
    const colour = theme().ink;
    this.charts[0].set(fit ? [...lines, { label: "sum of the others", x: fit.energy, y: fit.fit, colour, dash: [3, 3] }] : lines, labels);
    this.charts[1].set(fit ? [{ label: "residual", x: fit.energy, y: fit.residual, colour }] : off, labels);
    this.below.textContent = !own || !off.length ? "Difference: tick a second scan" : fit ? `${own.label} less the fit` : `Difference to ${own.label}`;
    const name = (key) => nameOf(key, this.known.get(key));
    this.fit.draw(off.length > 0, name);
    this.components.draw(drawn.length >= FEWEST, name);
    const left = keys.length - drawn.length;
    this.note.textContent = [base && `${base.edge} edge`, left && `${left} of another edge or unknown: not drawn`, chosen().length + references().length > MOST && `the first ${MOST}`].filter(Boolean).join("; ");
    put(this.rows, keys.map((key) => this.row(key)));
  }

  row(key) {
    const told = state.results.get(key);
    const known = this.known.get(key);
    const name = nameOf(key, known);
    const colour = this.colours.get(key);
    const found = told && verdict(told);
    const pick = h("input", { type: "radio", name: "against", checked: key === against(), "aria-label": `compare the others with ${name}`, onchange: () => compareWith(key) });
    return h("tr", { class: found?.kind, "data-key": key },
      h("td", { class: "tick" }, pick),
      h("td", {}, swatch(colour), told ? h("a", { href: `#now/${encodeURIComponent(key)}` }, name) : name, " ", h("span", { class: "soft" }, told?.sample ?? "")),
      told?.cn ? figures(told) : h("td", { class: "about", colspan: "4" }, told ? chip(found?.text ?? told.status, found?.kind ?? "") : aboutFile(known)),
      h("td", {}, h("button", { class: "plain", title: "Take it out", "aria-label": `take ${name} out`, onclick: () => drop(key) }, "✕")));
  }

  destroy() {
    this.gone = true;
    for (const stop of this.stops) stop();
    for (const chart of this.charts) chart.destroy();
    this.components.destroy();
  }
}

const wanted = () => [...chosen(), ...references()].slice(0, MOST);

function unknownText(keys) {
  const files = keys.filter((key) => references().includes(key)).length;
  const scans = keys.length - files;
  return [scans && `${scans} chosen scan${scans > 1 ? "s are" : " is"} not known here`, files && `${files} file${files > 1 ? "s are" : " is"} forgotten: choose again`].filter(Boolean).join("; ");
}

function nameOf(key, known) {
  const told = state.results.get(key);
  return told ? spectrumName(told) : known?.name ?? `unknown ${key.slice(0, 12)}`;
}

function aboutFile(known) {
  if (!known) return "not known";
  const how = known.signal ? `${known.signal}, ` : "";
  return `file, normalised here: ${how}e0 ${number(known.e0, 1)} eV, step ${Number(known.edge_step.toPrecision(3))}`;
}

function points(known, axis, shift) {
  const origin = (axis === "e0" ? known.e0 : 0) - shift;
  return { x: known.energy.map((e) => e - origin), y: known.flat };
}

// Few lines have colours that are told apart, many run along a scale in the order of their choice.
function coloured(lines) {
  const scale = table("viridis");
  return lines.map((line, i) => {
    const at = Math.round((220 * i) / Math.max(1, lines.length - 1));
    const colour = lines.length > GROUPS.length - 2 ? `rgb(${[0, 1, 2].map((c) => scale[3 * at + c])})` : GROUPS[[0, 5, 2, 3, 4, 1][i]];
    return { ...line, colour, dash: references().includes(line.key) ? [6, 3] : undefined };
  });
}

function figures(told) {
  const [cn, bond, angle] = ["cn", "bond", "angle"].map((name) => figure(name));
  return [
    h("td", { class: "num", title: bounds(told.cn, cn.digits) }, number(told.cn.mean, decimals(told.cn, cn.digits))),
    h("td", {}, set(told.cn.set)),
    h("td", { class: "num", title: interval(told.bond, bond.digits) }, number(told.bond?.mean, bond.digits)),
    h("td", { class: "num", title: interval(told.angle, angle.digits) }, number(told.angle?.mean, angle.digits)),
  ];
}
