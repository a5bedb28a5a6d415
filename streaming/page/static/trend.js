// The view Trend: figures against scan number, time or any scalar of the runs.

import state, { sorted, subscribe } from "./store.js";
import { h, onResize, put, typing } from "./dom.js";
import { axis } from "./chart.js";
import { theme } from "./theme.js";
import { flagText, verdict } from "./flags.js";
import { bounds, clockTick, dateTime, day, decimals, ends, figure, number, spectrumName, usual } from "./format.js";

/* global uPlot */

// No scalar of a run has a name that begins with a dot.
const SCAN = ".scan";
const TIME = ".time";
const FRAME = ".frame";

const chosen = { x: SCAN, edge: "", figures: new Set(["cn", "bond", "angle", "misfit"]) };

export function show(main, address) {
  recall(address);
  const view = new Trend(main);
  return () => view.destroy();
}

// The choice is part of the address, so that a link or a reload shows the same.
function recall(address) {
  const asked = new URLSearchParams(address ?? "");
  if (asked.has("x")) chosen.x = asked.get("x");
  if (asked.has("edge")) chosen.edge = asked.get("edge");
  if (asked.has("figures")) chosen.figures = new Set(asked.get("figures").split(" "));
}

function remember() {
  const said = new URLSearchParams({ x: chosen.x, edge: chosen.edge, figures: [...chosen.figures].join(" ") });
  history.replaceState(null, "", `#trend/${said}`);
}

class Trend {
  constructor(main) {
    this.plots = [];
    this.at = -1; // the point that the keyboard is on
    this.controls = h("section", { class: "card controls", "aria-label": "What is drawn" });
    this.charts = h("div", { class: "charts", tabindex: "0", role: "application", "aria-label": "Trend. Left and right move between points, Enter opens one." });
    this.words = h("p", { class: "note soft", "aria-live": "polite" });
    main.append(h("div", { class: "trend" }, this.controls, h("section", { class: "card" }, this.words, this.charts)));
    this.charts.addEventListener("keydown", (event) => this.onKey(event));
    this.stop = subscribe((what) => ["result", "all", "about"].includes(what) && this.later());
    this.stopResizing = onResize(this.charts, () => this.resize());
    this.update();
  }

  // Many results that come at once are drawn once.
  later() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.update();
    });
  }

  update() {
    const all = sorted().filter((told) => told.cn);
    const edges = [...new Set(all.map((told) => told.edge))].sort();
    if (edges.length && !edges.includes(chosen.edge)) chosen.edge = edges.at(-1);
    this.points = all.filter((told) => told.edge === chosen.edge && Number.isFinite(xOf(told)));
    this.points.sort((a, b) => xOf(a) - xOf(b));
    this.drawControls(axes(scalars(all), all), edges);
    this.drawCharts();
  }

  drawControls(choices, edges) {
    const shape = JSON.stringify([choices, edges, chosen.edge, chosen.x, [...chosen.figures], this.available()]);
    if (shape === this.shape) return;
    this.shape = shape;
    put(
      this.controls,
      h("label", {}, "against", select(choices, chosen.x, (x) => this.choose(() => { chosen.x = x; }))),
      edges.length > 1 ? h("label", {}, "edge", select([{ options: edges }], chosen.edge, (edge) => this.choose(() => { chosen.edge = edge; }))) : null,
      h("span", { class: "tools small", role: "group", "aria-label": "Figures" }, this.available().map((name) => h("button", {
        "aria-pressed": String(chosen.figures.has(name)),
        onclick: () => this.choose(() => { if (!chosen.figures.delete(name)) chosen.figures.add(name); }),
        title: figure(name, chosen.edge).meaning,
      }, figure(name, chosen.edge).symbol))),
      h("a", { class: "push", href: "/api/trend.csv", download: true }, "Save as CSV"));
  }

  choose(change) {
    change();
    remember();
    this.update();
  }

  available() {
    return Object.keys(state.about.figures).filter((name) => this.points.some((told) => valueOf(told[name])));
  }

  drawCharts() {
    const names = this.available().filter((name) => chosen.figures.has(name));
    this.words.textContent = this.key();
    const shape = JSON.stringify([names, chosen, this.xLabel()]);
    if (shape !== this.drawn || this.plots.length !== names.length) this.rebuild(names);
    this.drawn = shape;
    const x = this.points.map(xOf);
    this.plots.forEach(({ plot, name }) => {
      // the misfit of a part of a scan is not comparable
      const has = (told) => name !== "misfit" || !told.flags.includes("partial");
      const values = this.points.map((told) => (has(told) ? valueOf(told[name]) : null));
      const means = values.map((v) => v?.mean ?? null);
      const of = (foreign) => means.map((mean, i) => (isDoubtful(this.points[i]) === foreign ? mean : null));
      plot.setData([x, of(false), of(true), values.map((v) => v?.lo ?? null), values.map((v) => v?.hi ?? null)]);
    });
  }

  // How to read the charts.
  key() {
    if (!this.points.length) return "No answers yet. Each spectrum with an answer becomes a point.";
    const open = this.points.some(isDoubtful) ? "; open circles: do not rely on them" : "";
    return `${this.points.length} spectra of the ${chosen.edge} edge. Bars: 90 % intervals; dashes: members of the 90 % set${open}${this.scale()}. Click a point to open it, drag to zoom.`;
  }

  // What misfits are measured by, where all answers are measured by the same.
  scale() {
    const known = new Set(this.points.map((told) => usual({ ...told, flags: [] })));
    return chosen.figures.has("misfit") && known.size === 1 && !known.has("") ? `; misfit: ${[...known][0]}` : "";
  }

  xLabel() {
    if (chosen.x === SCAN) return TITLES[SCAN];
    if (chosen.x === FRAME) return TITLES[FRAME];
    if (chosen.x !== TIME) return [chosen.x, this.points.at(-1)?.units[chosen.x]].filter(Boolean).join(", ");
    const days = [this.points[0], this.points.at(-1)].map((told) => (told ? day(told.time) : ""));
    return `time, ${days[0] === days[1] ? days[0] : days.join(" to ")}`;
  }

  rebuild(names) {
    for (const { plot } of this.plots) plot.destroy();
    const boxes = names.map(() => h("div", { class: "fill" }));
    this.charts.replaceChildren(...boxes);
    this.plots = names.map((name, i) => ({ name, box: boxes[i], plot: this.make(name, boxes[i], i === names.length - 1) }));
  }

  make(name, box, last) {
    const colours = theme();
    const { symbol, heading, span } = figure(name, chosen.edge);
    const size = box.getBoundingClientRect();
    return new uPlot({
      width: Math.max(60, size.width), height: Math.max(60, size.height),
      padding: [8, 20, 0, 0],
      legend: { show: false },
      scales: { x: { time: chosen.x === TIME, range: padded }, y: { range: (plot, min, max) => padded(plot, ...widened(min, max, span)) } },
      cursor: { sync: { key: "trend" }, drag: { x: true, y: false }, points: { size: ringSize, fill: "transparent", stroke: colours.second, width: ringWidth } },
      axes: [this.xAxis(colours, last), this.yAxis(name, heading, colours)],
      series: [
        {},
        this.dots(symbol, colours.first, colours.first),
        this.dots(symbol, colours.first, colours.card),
        { show: true, stroke: "transparent", paths: () => null, points: { show: false } },
        { show: true, stroke: "transparent", paths: () => null, points: { show: false } },
      ],
      hooks: {
        drawAxes: [(plot) => {
          drawErrorBars(plot, colours);
          if (name === "cn") drawSets(plot, this.points, colours);
        }],
        setCursor: [(plot) => this.tell(plot)],
        draw: [(plot) => this.drawChosen(plot, colours)],
        ready: [(plot) => plot.over.addEventListener("click", () => this.open(under(plot)))],
      },
    }, [[], [], [], [], []], box);
  }

  dots(label, stroke, fill) {
    return { label, stroke, width: 0, paths: () => null, points: { show: true, size: this.points.length > MANY ? 4 : 7, fill } };
  }

  xAxis(colours, last) {
    const found = { ...axis(colours, this.xLabel(), 24), ...X_AXES[chosen.x] };
    return last ? found : { ...found, label: undefined, labelSize: 0, size: 8, values: () => [], ticks: { show: false } };
  }

  yAxis(name, heading, colours) {
    const found = axis(colours, heading, 44);
    return name === "cn" ? { ...found, incrs: WHOLE } : found;
  }

  tell(plot) {
    const told = this.points[plot.cursor.idx];
    this.words.textContent = told ? describe(told) : this.key();
  }

  drawChosen(plot, colours) {
    const value = plot.data[1][this.at] ?? plot.data[2][this.at];
    if (this.at < 0 || value === null || value === undefined) return;
    const { ctx } = plot;
    ctx.save();
    ctx.strokeStyle = colours.second;
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.arc(plot.valToPos(plot.data[0][this.at], "x", true), plot.valToPos(value, "y", true), 8 * devicePixelRatio, 0, 7);
    ctx.stroke();
    ctx.restore();
  }

  onKey(event) {
    if (typing(event) || !this.points.length) return;
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (move) {
      this.at = Math.max(0, Math.min(this.points.length - 1, this.at + move));
      this.words.textContent = describe(this.points[this.at]);
      for (const { plot } of this.plots) plot.redraw(false);
      event.preventDefault();
    } else if (event.key === "Enter") this.open(this.at);
  }

  open(at) {
    const told = this.points[at];
    if (told) location.hash = `now/${encodeURIComponent(told.key)}`;
  }

  resize() {
    for (const { plot, box } of this.plots) {
      const { width, height } = box.getBoundingClientRect();
      plot.setSize({ width: Math.max(60, width), height: Math.max(60, height) });
    }
  }

  destroy() {
    cancelAnimationFrame(this.pending);
    this.stop();
    this.stopResizing();
    for (const { plot } of this.plots) plot.destroy();
  }
}

const REACH = 20; // pixels
const MANY = 300; // points that need smaller marks
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];

// A figure's number and the ends of its interval; null where there is none.
function valueOf(told) {
  if (told?.set) {
    const [lo, hi] = ends(told);
    return { mean: told.mean, lo, hi };
  }
  if (told?.lo !== undefined) return told;
  const value = typeof told === "object" ? told?.score ?? null : told ?? null;
  return value === null ? null : { mean: value, lo: null, hi: null };
}

const TITLES = { [SCAN]: "scan number", [TIME]: "time", [FRAME]: "spectrum of its run" };

const X_AXES = {
  [SCAN]: { incrs: WHOLE },
  [FRAME]: { incrs: WHOLE },
  [TIME]: { space: 80, values: (plot, ticks, index, space, step) => ticks.map((at) => (step < 86400 ? clockTick(at, step) : day(at))) },
};

// The point that was clicked; null for a click beside the points, as of a double click.
function under(plot) {
  const { idx, left } = plot.cursor;
  const near = Number.isInteger(idx) && Math.abs(plot.valToPos(plot.data[0][idx], "x") - left) < REACH;
  return near ? idx : null;
}

// A ring around the point under the cursor, and none at the ends of its bar.
const ringSize = (plot, series) => (series <= 2 ? 12 : 0);
const ringWidth = (plot, series) => (series <= 2 ? 2 : 0);

const isDoubtful = (told) => verdict(told)?.kind === "doubt";

function xOf(told) {
  if (chosen.x === SCAN) return told.scan ?? NaN;
  if (chosen.x === TIME) return told.time;
  if (chosen.x === FRAME) return Number(/\d+$/.exec(told.spectrum)?.[0] ?? NaN); // of 0.12, the 12
  const value = told.context[chosen.x];
  return typeof value === "number" ? value : NaN;
}

// An axis that is never so short that noise looks like a change.
function widened(min, max, least) {
  if (min === null || max === null || max - min >= least) return [min, max];
  const middle = (min + max) / 2;
  return [middle - least / 2, middle + least / 2];
}

function padded(plot, min, max) {
  if (min === null || max === null) return [0, 1];
  const pad = (max - min) * 0.06 || Math.abs(max) * 0.05 || 1;
  return [min - pad, max + pad];
}

// Draw lines in the plot's own area, thinner and paler where there are many.
function drawing(plot, colours, draw) {
  const { ctx, bbox } = plot;
  const many = plot.data[0].length > MANY;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = colours.first;
  ctx.globalAlpha = many ? 0.3 : 0.55;
  ctx.lineWidth = (many ? 1 : 2) * devicePixelRatio;
  ctx.beginPath();
  draw(ctx);
  ctx.stroke();
  ctx.restore();
}

// The 90 % sets of coordination numbers: a dash for each member, since they need not adjoin.
function drawSets(plot, points, colours) {
  drawing(plot, colours, (ctx) => {
    const half = Math.max(2, Math.min(9, plot.bbox.width / devicePixelRatio / points.length / 3)) * devicePixelRatio;
    points.forEach((told, i) => {
      const at = plot.valToPos(plot.data[0][i], "x", true);
      for (const member of told.cn.set) {
        const y = plot.valToPos(member, "y", true);
        ctx.moveTo(at - half, y);
        ctx.lineTo(at + half, y);
      }
    });
  });
}

function drawErrorBars(plot, colours) {
  const [x, , , lo, hi] = plot.data;
  drawing(plot, colours, (ctx) => {
    const cap = (x.length > 150 ? 0 : 4) * devicePixelRatio;
    for (let i = 0; i < x.length; i++) {
      if (lo[i] === null || hi[i] === null) continue;
      const at = plot.valToPos(x[i], "x", true);
      const [low, high] = [plot.valToPos(lo[i], "y", true), plot.valToPos(hi[i], "y", true)];
      ctx.moveTo(at, low);
      ctx.lineTo(at, high);
      ctx.moveTo(at - cap, low);
      ctx.lineTo(at + cap, low);
      ctx.moveTo(at - cap, high);
      ctx.lineTo(at + cap, high);
    }
  });
}

function describe(told) {
  const parts = [[spectrumName(told), told.sample, dateTime(told.time)].filter(Boolean).join(", ")];
  for (const name of ["cn", "bond", "angle"]) {
    const { symbol, unit, digits } = figure(name);
    if (told[name]) parts.push([symbol, number(told[name].mean, decimals(told[name], digits)), bounds(told[name], digits), unit].filter(Boolean).join(" "));
  }
  if (typeof told.misfit === "number") parts.push(`misfit ${number(told.misfit, figure("misfit").digits)} ${usual(told) && `(${usual(told)})`}`.trim());
  const along = shown(told).map(([name, value]) => `${name} ${typeof value === "number" ? +value.toPrecision(4) : value} ${told.units[name] ?? ""}`.trim());
  return [...parts, ...along, ...told.flags.map(flagText)].join(" · ");
}

// Of the scalars, those that the profile names, and the one on the axis: there may be dozens.
function shown(told) {
  const wanted = new Set([...state.about.context, chosen.x]);
  return Object.entries(told.context).filter(([name]) => wanted.has(name));
}

// The names of all scalars that change from spectrum to spectrum, and of the one that was chosen.
function scalars(all) {
  const first = new Map();
  const names = new Set();
  for (const { context } of all) {
    for (const [name, value] of Object.entries(context)) {
      if (typeof value !== "number") continue;
      if (!first.has(name)) first.set(name, value);
      if (first.get(name) !== value || name === chosen.x) names.add(name);
    }
  }
  return [...names].sort((a, b) => a.localeCompare(b));
}

// What there is to draw against; the choices that the profile names come before the others.
function axes(names, all) {
  const frames = new Set(all.map((told) => told.spectrum)).size > 1;
  const named = state.about.context.filter((name) => names.includes(name));
  return [
    { options: frames || chosen.x === FRAME ? [SCAN, TIME, FRAME] : [SCAN, TIME] },
    { label: "measured along", options: named },
    { label: "baseline and metadata", options: names.filter((name) => !named.includes(name)) },
  ].filter((group) => group.options.length);
}

function select(groups, value, choose) {
  const option = (one) => h("option", { value: one, selected: one === value }, TITLES[one] ?? one);
  const children = groups.flatMap(({ label, options }) => (label ? h("optgroup", { label }, options.map(option)) : options.map(option)));
  return h("select", { onchange: (event) => choose(event.target.value) }, children);
}
