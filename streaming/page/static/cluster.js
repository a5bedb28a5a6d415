// The clusters in 3-D: all samples over each other, or the most typical one with its spread.

import { h, s } from "./dom.js";
import { colour, mixed, radius } from "./elements.js";
import { number } from "./format.js";
import { theme } from "./theme.js";

/* global $3Dmol */

const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const STEP = 10; // degrees for each press of an arrow key
const CLOSER = 1.2;
const LIMITS = { lowerZoomLimit: 5, upperZoomLimit: 200 }; // Å from the eye
const FACING = [0, 0, 0, 0, 0, 0, 0, 1]; // not shifted, not zoomed, not turned
const HINT = "drag or arrow keys turn · wheel or + − zoom · Home resets";

export class Cluster {
  constructor(stage) {
    this.stage = stage;
    this.mode = "samples";
    this.turning = !CALM.matches;
    this.view = null;
    this.placed = false;
    this.viewer = makeViewer(stage);
    if (!this.viewer) return;
    stage.append(h("p", { class: "hint", "aria-hidden": true }, HINT));
    this.onKey = (event) => this.press(event);
    stage.addEventListener("keydown", this.onKey);
  }

  set(view) {
    this.view = view;
    this.describe();
    this.draw();
  }

  describe() {
    const { stage, view } = this;
    const canTurn = Boolean(view && this.viewer);
    const keys = canTurn ? " Arrow keys turn them, plus and minus zoom, Home resets." : "";
    stage.setAttribute("role", canTurn ? "application" : "img");
    stage.setAttribute("aria-label", view ? `${view.samples} clusters around ${view.absorber} in 3-D.${keys} The table of neighbours has the numbers.` : "no clusters");
    if (canTurn) stage.setAttribute("tabindex", "0");
    else stage.removeAttribute("tabindex");
  }

  // Keys that turn and zoom do nothing else on the page.
  press(event) {
    const act = KEYS[event.key];
    if (!act || !this.view || event.altKey || event.ctrlKey || event.metaKey) return;
    act(this);
    event.preventDefault();
    event.stopPropagation();
  }

  // Turn about an axis of the screen, however the cluster is turned already.
  turnBy(x, y) {
    const at = this.viewer.getView();
    const sin = Math.sin((STEP * Math.PI) / 360);
    const step = new $3Dmol.Quaternion(x * sin, y * sin, 0, Math.cos((STEP * Math.PI) / 360));
    const turned = step.multiply(new $3Dmol.Quaternion(...at.slice(4, 8)));
    this.viewer.setView([...at.slice(0, 4), turned.x, turned.y, turned.z, turned.w]);
  }

  zoomBy(factor) {
    this.viewer.zoom(factor);
  }

  // Show all of it from the front.
  reset() {
    this.viewer.setView(FACING);
    this.viewer.zoomTo();
    this.viewer.zoom(1.25);
  }

  setMode(mode) {
    this.mode = mode;
    this.draw();
  }

  turn(on) {
    this.turning = on;
    this.viewer?.spin(on && this.view ? "y" : false, 0.35);
  }

  resize() {
    this.viewer?.resize();
  }

  draw() {
    const { viewer, view } = this;
    if (!viewer) return;
    viewer.removeAllShapes();
    if (view) {
      if (this.mode === "samples") addSamples(viewer, view);
      addTypical(viewer, view, this.mode);
      if (!this.placed) this.reset();
      this.placed = true;
    }
    viewer.render();
    this.turn(this.turning);
  }

  destroy() {
    this.viewer?.spin(false);
    this.viewer?.clear();
    this.stage.removeEventListener("keydown", this.onKey);
    this.stage.replaceChildren();
  }
}

const KEYS = {
  ArrowLeft: (cluster) => cluster.turnBy(0, -1),
  ArrowRight: (cluster) => cluster.turnBy(0, 1),
  ArrowUp: (cluster) => cluster.turnBy(-1, 0),
  ArrowDown: (cluster) => cluster.turnBy(1, 0),
  "+": (cluster) => cluster.zoomBy(CLOSER),
  "=": (cluster) => cluster.zoomBy(CLOSER), // plus without shift
  "-": (cluster) => cluster.zoomBy(1 / CLOSER),
  Home: (cluster) => cluster.reset(),
  0: (cluster) => cluster.reset(),
};

function makeViewer(stage) {
  try {
    return $3Dmol.createViewer(stage, { backgroundColor: theme().card, antialias: true, disableFog: true, ...LIMITS });
  } catch {
    stage.append(h("p", { class: "empty" }, "This browser shows no 3-D graphics (WebGL is off). The neighbours are listed below."));
    return null;
  }
}

// One shape for each species, so that hundreds of atoms are drawn at once; pale, as if one saw
// through them.
function addSamples(viewer, view) {
  const shapes = new Map();
  const behind = theme().card;
  view.positions.slice(1).forEach((sample, k) => sample.forEach(([x, y, z], i) => {
    const symbol = view.species[k + 1][i];
    if (!symbol) return;
    if (!shapes.has(symbol)) shapes.set(symbol, viewer.addShape({ color: mixed(colour(symbol), behind, 0.5) }));
    shapes.get(symbol).addSphere({ center: { x, y, z }, radius: 0.1, quality: 1 });
  }));
}

function addTypical(viewer, view, mode) {
  sphere(viewer, [0, 0, 0], radius(view.absorber) * 1.1, colour(view.absorber), 1);
  view.positions[0].forEach((position, i) => {
    const symbol = view.species[0][i];
    if (!symbol) return;
    const size = radius(symbol) * (view.bonded[0][i] ? 1 : 0.8) * (mode === "samples" ? 0.75 : 0.9);
    sphere(viewer, position, size, colour(symbol), 1);
    if (view.bonded[0][i]) stick(viewer, position, colour(view.absorber), colour(symbol));
    const spread = view.spread[i];
    if (mode === "spread" && spread) sphere(viewer, position, size + spread, colour(symbol), 0.22);
  });
}

function sphere(viewer, [x, y, z], size, tint, opacity) {
  viewer.addSphere({ center: { x, y, z }, radius: size, color: tint, opacity, quality: 2 });
}

function stick(viewer, [x, y, z], from, to) {
  const middle = { x: x / 2, y: y / 2, z: z / 2 };
  viewer.addCylinder({ start: { x: 0, y: 0, z: 0 }, end: middle, radius: 0.07, color: from });
  viewer.addCylinder({ start: middle, end: { x, y, z }, radius: 0.07, color: to });
}

// Which colour is which element.
export function legend(view) {
  const symbols = [...new Set([view.absorber, ...view.species[0].filter(Boolean)])];
  return h("div", { class: "legend" },
    symbols.map((symbol) => h("span", {}, dot(colour(symbol)), symbol === view.absorber ? `${symbol} (absorber, centre)` : symbol)),
    h("span", {}, `${view.samples} samples`));
}

function dot(fill) {
  return s("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, s("circle", { cx: 6, cy: 6, r: 5.5, fill }));
}

// The same in words and numbers: the neighbours of the most typical sample.
export function neighbours(view) {
  const atoms = view.positions[0]
    .map((position, i) => ({ symbol: view.species[0][i], r: Math.hypot(...position), spread: view.spread[i], bonded: view.bonded[0][i] }))
    .filter((one) => one.symbol)
    .sort((a, b) => a.r - b.r);
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, "neighbour"), h("th", { class: "num" }, "distance, Å"), h("th", { class: "num" }, "spread, Å"), h("th", {}, ""))),
    h("tbody", {}, atoms.map((one) => h("tr", {},
      h("td", {}, one.symbol), h("td", { class: "num" }, number(one.r, 3)),
      h("td", { class: "num" }, number(one.spread, 2)), h("td", { class: "soft" }, one.bonded ? "bonded" : "")))));
}
