// The view Now: the newest spectrum, or a chosen one, with its answer.

import state, { detail, latest, newestRunning, runningDetail, sorted, subscribe } from "./store.js";
import { card, chip, h, onResize, oneAtATime, put, typing } from "./dom.js";
import { flagKind, flagText, louder, reasonText, verdict } from "./flags.js";
import { bounds, clock, decimals, figure, number, shortRun, spectrumName, usual } from "./format.js";
import { Chart } from "./chart.js";
import { Cluster, legend, neighbours } from "./cluster.js";
import { density, histogram, probabilityBars } from "./bars.js";
import { radialLines } from "./radial.js";
import { rawLines } from "./raw.js";

export function show(main, key) {
  const view = new Now(main, key);
  return () => view.destroy();
}

class Now {
  constructor(main, key) {
    this.key = key === undefined ? null : decodeURIComponent(key); // null: follow the newest
    this.answer = null;
    this.fetching = true; // what an answer holds is not known yet
    this.tries = 0; // that failed, one after the other
    this.refresh = oneAtATime(() => this.redraw(), () => this.gone);
    this.build(main);
    this.onKey = (event) => this.step(event);
    addEventListener("keydown", this.onKey);
    this.stop = subscribe((what) => this.changed(what));
    this.head.append(h("p", { class: "soft said" }, "Loading …"));
    this.refresh();
  }

  build(main) {
    this.head = h("section", { class: "card head", "aria-label": "Result" });
    this.raw = panel("raw", "As measured");
    this.norm = panel("norm", "Normalised");
    [this.cn, this.bond] = ["cn", "bond"].map((name) => figurePanel(figure(name)));
    this.angle = panel("angle", "Angles, °");
    this.stage = panel("cluster", "Surroundings");
    this.rdf = panel("rdf", "Neighbours by distance");
    this.stage.body.classList.add("stage");
    this.below = h("div");
    this.stage.element.append(this.below);
    const panels = [this.raw, this.norm, this.stage, this.rdf, this.cn, this.bond, this.angle];
    main.append(h("div", { class: "now" }, this.head, h("div", { class: "panels" }, panels.map((p) => p.element))));
    this.marks = {};
    this.charts = {
      raw: new Chart(this.raw.body, { xLabel: "energy, eV", marks: () => this.marks.raw ?? {} }),
      norm: new Chart(this.norm.body, { xLabel: "energy from e0, eV", yLabel: "edge steps", marks: () => this.marks.norm ?? {} }),
      rdf: new Chart(this.rdf.body, { xLabel: "distance from the absorber, Å", yLabel: "atoms / Å" }),
    };
    this.cluster = new Cluster(this.stage.body);
    for (const p of [this.stage, this.rdf]) p.body.append(p.none = h("p", { class: "empty", hidden: true }, "no answer"));
    this.stage.note.replaceWith(this.clusterTools());
    this.resizing = [this.cn, this.bond, this.angle].map((p) => onResize(p.body, () => this.drawBars()));
    this.resizing.push(onResize(this.stage.body, () => this.cluster.resize()));
  }

  clusterTools() {
    const modes = ["samples", "spread"].map((mode) => h("button", {
      "aria-pressed": String(mode === this.cluster.mode), title: MODES[mode].title,
      onclick: (event) => {
        for (const button of event.target.parentNode.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", "false");
        event.target.setAttribute("aria-pressed", "true");
        this.cluster.setMode(mode);
      },
      "data-mode": mode,
    }, MODES[mode].text));
    const turn = h("button", {
      "aria-pressed": String(this.cluster.turning),
      onclick: () => {
        this.cluster.turn(!this.cluster.turning);
        turn.setAttribute("aria-pressed", String(this.cluster.turning));
      },
    }, "turn");
    return h("span", { class: "tools small" }, modes, turn);
  }

  changed(what) {
    const followed = this.key === null && ["result", "running"].includes(what);
    if (followed || what === "all" || what === "about") this.refresh();
  }

  // Headline, spectrum and answer are of one scan at any moment: drawn together, when all is there.
  async redraw() {
    const running = this.key === null ? newestRunning() : null;
    const key = this.chosen();
    try {
      const live = running && (await runningDetail(running.slot).catch(() => null));
      const done = key && (await detail(key));
      if (this.gone || key !== this.chosen()) return;
      this.draw(done && (state.results.get(key) ?? done.summary), done, live);
      this.tries = 0;
    } catch (error) {
      if (!this.gone) this.fail(error);
    }
  }

  // The key of what is shown once it has ended.
  chosen() {
    return this.key ?? latest()?.key ?? null;
  }

  // What went wrong may pass by itself; a key that nobody knows does not.
  fail(error) {
    if (error.status === 404) {
      return this.say(`There is no spectrum with the key ${this.key}: it may have been removed, or belong to another catalog.`, h("a", { href: "#now" }, "Show the newest"));
    }
    const wait = Math.min(30, 2 ** this.tries++);
    this.say(`This spectrum cannot be read at the moment (${error.message.slice(0, 200)}); trying again in ${wait} s.`);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.again(), 1000 * wait);
  }

  again() {
    this.say("This spectrum could not be read; trying again …");
    this.refresh();
  }

  pale(on) {
    for (const p of [this.stage, this.rdf, this.cn, this.bond, this.angle]) p.element.classList.toggle("older", on);
  }

  draw(told, done, live) {
    clearTimeout(this.retry);
    if (!told && !live) return this.say(state.loaded ? "Nothing was measured yet. The first spectrum shows here as it grows." : "Loading …");
    this.fetching = false;
    this.answer = live?.answer ?? done?.answer ?? null;
    const older = Boolean(live && !live.answer && done);
    this.drawHead(told, live, older);
    this.drawSpectra(live ?? done);
    this.drawAnswer(older);
  }

  say(...words) {
    this.fetching = false;
    this.answer = null;
    this.marks = {};
    this.head.replaceChildren(h("p", { class: "soft said" }, ...words.flatMap((word) => [word, " "])));
    this.raw.note.textContent = this.norm.note.textContent = "";
    this.charts.raw.clear();
    this.charts.norm.clear();
    this.drawAnswer(false);
  }

  drawHead(told, live, older) {
    const source = live ?? told;
    const answer = this.answer ?? (told?.cn ? told : null);
    const name = live ? spectrumName({ ...live, spectrum: live.name }) : spectrumName(told);
    const edge = (live ? live.spectrum?.edge : told.edge) || told?.edge || "";
    const judged = live ? null : verdict(told);
    const state_ = live
      ? chip(`running, ${live.points} points`, "busy", "This scan is being measured; what is shown grows with it.")
      : chip(judged?.text ?? told.status, judged?.kind, judged?.meaning);
    this.head.dataset.verdict = judged?.kind ?? "";
    const words = live ? (live.answer?.flags ?? []) : told.flags;
    put(
      this.head,
      h("div", { class: "what" },
        h("div", { class: "line" }, h("h2", {}, `${capital(name)}${edge ? `, ${edge} edge` : ""}`), state_),
        h("div", { class: "soft" }, `${source.sample ? `${source.sample}, ` : ""}${told?.merged?.length && !live ? `${told.merged.length} scans` : `run ${shortRun(source.run)}`}, ${clock(source.time)}${older ? `; the figures are of ${spectrumName(told)}` : ""}`)),
      answer ? figures(answer, edge, older) : h("p", { class: "why" }, live ? "" : why(told)),
      this.actions(told, live),
      flags(words, answer));
  }

  actions(told, live) {
    const keys = [...state.results.keys()];
    const at = told ? keys.indexOf(told.key) : -1;
    const answered = !live && told?.status === "complete";
    return h("div", { class: "actions" },
      h("button", { title: "Previous spectrum (left arrow)", "aria-label": "Previous spectrum", disabled: at <= 0, onclick: () => this.open(keys[at - 1]) }, "‹"),
      h("button", { title: "Next spectrum (right arrow)", "aria-label": "Next spectrum", disabled: at < 0 || at >= keys.length - 1, onclick: () => this.open(keys[at + 1]) }, "›"),
      h("button", { "aria-pressed": String(this.key === null), title: "Show each spectrum as it comes (F)", onclick: () => this.follow() }, "follow"),
      h("details", { class: "menu", hidden: !answered },
        h("summary", {}, "Save as …"),
        h("ul", {}, state.about.exports.map(({ name, title }) => h("li", {},
          h("a", { href: `/api/results/${told?.key}/export/${name}`, download: true }, title))))));
  }

  drawSpectra(shown) {
    const spectrum = shown?.spectrum;
    if (!spectrum) {
      const raw = rawLines(shown?.columns);
      this.marks = {};
      this.charts.raw.set(raw.lines, { xLabel: raw.along, yLabel: raw.label });
      this.charts.norm.clear();
      this.norm.body.replaceChildren(h("p", { class: "empty" }, shown?.waiting ? `Not yet: ${shown.waiting}` : "not normalised"));
      this.norm.note.textContent = "";
      this.raw.note.textContent = "";
      return;
    }
    this.norm.body.querySelector(".empty")?.remove();
    const relative = spectrum.energy.map((e) => e - spectrum.e0);
    this.marks = {
      raw: { windows: spectrum.windows, lines: [{ at: spectrum.e0, name: "e0" }] },
      norm: { lines: [{ at: 0, name: "e0" }] },
    };
    this.charts.raw.set(
      [{ label: "mu", x: spectrum.energy, y: spectrum.mu, colour: "first", points: spectrum.energy.length < 60 }],
      spectrum.technique === "eels" ? { xLabel: "energy loss, eV", yLabel: "counts" } : { xLabel: "energy, eV", yLabel: "mu" });
    const answer = this.answer?.key === shown.answer?.key ? this.answer : null;
    const implied = answer?.implied ? [{ label: "implied", x: answer.grid, y: answer.implied, colour: "second", dash: [6, 4] }] : [];
    this.charts.norm.set([
      { label: "flattened", x: relative, y: spectrum.flat, colour: "first" },
      { label: "normalised", x: relative, y: spectrum.norm, colour: "faint", width: 1, dash: [3, 3] },
      ...implied,
    ]);
    const windows = spectrum.windows.map((w) => w.name).join(" and ");
    this.raw.note.textContent = `e0 ${spectrum.e0.toFixed(1)} eV${windows ? `; shaded: ${windows}` : ""}`;
    this.norm.note.textContent = implied.length ? "orange dashes: what the clusters imply" : `edge step ${spectrum.edge_step.toPrecision(3)}; dashed: not flattened`;
  }

  drawAnswer(older) {
    const view = this.answer?.cluster ?? null;
    this.pale(older);
    this.cluster.set(view);
    this.stage.none.hidden = Boolean(view);
    const open = this.below.querySelector("details")?.open;
    this.below.replaceChildren(...(view ? [legend(view), h("details", { class: "neighbours", open },
      h("summary", {}, "Neighbours of the most typical sample"), h("div", { class: "scroll" }, neighbours(view)))] : []));
    this.drawBars();
  }

  drawBars() {
    if (this.fetching) return;
    const answer = this.answer;
    const radial = answer ? radialLines(answer) : { lines: [], note: "" };
    this.charts.rdf.set(radial.lines);
    this.rdf.none.hidden = Boolean(answer);
    this.rdf.note.textContent = radial.note;
    draw(this.cn, answer && ((box) => probabilityBars(box, answer.cn_prob, answer.cn.set)));
    draw(this.bond, answer && ((box) => histogram(box, answer.sample_bond, answer.weights, { ...figure("bond"), interval: answer.bond })));
    draw(this.angle, answer && ((box) => density(box, answer.angles, { unit: "°" })));
    this.cn.note.textContent = answer ? "filled: 90 % set" : "";
    this.bond.note.textContent = answer ? "mean and 90 %" : "";
    this.angle.note.textContent = answer?.angle ? `mean ${number(answer.angle.mean, 1)} ${bounds(answer.angle, 1)}` : "";
  }

  open(key) {
    if (key) location.hash = `now/${encodeURIComponent(key)}`;
  }

  follow() {
    if (this.key === null) this.open(latest()?.key);
    else location.hash = "now";
  }

  step(event) {
    if (typing(event) || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "f") return this.follow();
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    const keys = sorted().map((told) => told.key);
    const at = keys.indexOf(this.key ?? latest()?.key);
    this.open(keys[at + move]);
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.retry);
    this.stop();
    removeEventListener("keydown", this.onKey);
    for (const stop of this.resizing) stop();
    this.cluster.destroy();
    for (const chart of Object.values(this.charts)) chart.destroy();
  }
}

const MODES = {
  samples: { text: "all samples", title: "Every sample's atoms, over the most typical sample" },
  spread: { text: "spread", title: "The most typical sample; halos show how far the others' atoms lie from its own" },
};

function panel(name, title) {
  const body = h("div", { class: "fill" });
  const note = h("span", { class: "note" });
  return { element: card(name, title, h("header", {}, h("h2", {}, title), note), body), body, note };
}

function figurePanel({ name, title, unit, meaning }) {
  const made = panel(name, capital([title, unit].filter(Boolean).join(", ")));
  made.element.querySelector("h2").title = meaning;
  return made;
}

function draw(panel_, make) {
  const box = panel_.body.getBoundingClientRect();
  const drawn = make && box.width > 40 ? make(box) : null;
  panel_.body.replaceChildren(drawn ?? h("p", { class: "empty" }, make ? "the samples define none" : "no answer"));
}

function figures(answer, edge, older) {
  const names = ["cn", "bond", "angle", "bridge", ...(answer.misfit === null ? [] : ["misfit"])];
  return h("dl", { class: `figures${older ? " older" : ""}` }, names.map((name) => {
    const { heading, digits, meaning } = figure(name, edge);
    const value = answer[name];
    const more = name === "misfit" ? usual(answer) : bounds(value, digits);
    if (name === "angle" && answer.angles?.peaks.length) return angleFigure(answer, meaning);
    return h("div", { class: "figure", title: meaning },
      h("dt", {}, heading, more && name !== "misfit" ? h("span", {}, "90 %") : null), h("dd", {}, number(value?.mean ?? value, decimals(value, digits)), " ", h("small", {}, more)));
  }));
}

// Where the angles lie; their mean, beside it, may be an angle that no bond makes.
function angleFigure({ angle, angles }, meaning) {
  const peaks = angles.peaks.map((peak) => peak.toFixed(0)).join(" / ");
  return h("div", { class: "figure", title: `peaks of the distribution of the angles; beside it: ${meaning}` },
    h("dt", {}, "angles, °"), h("dd", {}, peaks, " ", h("small", {}, angle ? `mean ${angle.mean.toFixed(0)} ${bounds(angle, 0)}` : "")));
}

// Why there is no answer.
function why(told) {
  return told.detail ? `${told.reason ? reasonText(told.reason) : told.status}: ${told.detail}` : "";
}

function flags(words, answer) {
  const all = new Set(answer?.ood?.flag ? [...words, "out-of-distribution"] : words);
  return all.size ? h("div", { class: "flags" }, [...all].sort(louder).map((word) => chip(flagText(word), flagKind(word)))) : null;
}

const capital = (words) => words[0].toUpperCase() + words.slice(1);
