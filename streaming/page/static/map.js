// The view Map: the images of a map or series, what is chosen in them, and its answer beside it.

import { card, chip, h, onResize, oneAtATime, put, typing } from "./dom.js";
import { get, subscribe } from "./store.js";
import { dateTime, number } from "./format.js";
import { flagText, reasonText } from "./flags.js";
import { Beside, EXPECTED } from "./beside.js";
import { Chart } from "./chart.js";
import { GROUPS, SCALES, channels, table, usualRange } from "./colours.js";
import { MapImage, STATE, along } from "./mapimage.js";
import { FONT, theme } from "./theme.js";

const POLL_MS = 2000;
const SETTLED_MS = 250; // arrow keys that go on ask for no clusters
const TRIES = 6;
const BANDED = ["cn_mean", "bond", "angle"]; // figures with a 90 % interval
const chosen = { name: "cn_mean", scale: "viridis" };

export function show(main, address) {
  const view = new MapView(main, address ? decodeURIComponent(address) : null);
  return () => view.destroy();
}

// Numbers over a map, as bytes.
async function numbers(path, Kind) {
  const response = await fetch(path);
  if (!response.ok) throw Object.assign(new Error(await response.text()), { status: response.status });
  return { values: new Kind(await response.arrayBuffer()), shape: response.headers.get("X-Shape").split(",").map(Number) };
}

class MapView {
  constructor(main, key) {
    this.key = key;
    this.asked = 0; // what is chosen now: an answer to an older choice is not shown
    this.fits = new Map();
    this.refresh = oneAtATime(() => this.read(), () => this.gone);
    this.build(main);
    this.onKey = (event) => this.press(event);
    addEventListener("keydown", this.onKey);
    this.stop = subscribe((what, told) => {
      if (what === "map" && (!this.about || told.key === this.about.key || !this.key)) this.refresh();
      if (what === "all") this.refresh();
    });
    this.timer = setInterval(() => this.refresh(), POLL_MS);
    this.refresh();
  }

  build(main) {
    this.which = h("select", { "aria-label": "Map", onchange: () => { location.hash = `map/${encodeURIComponent(this.which.value)}`; } });
    this.what = h("select", { "aria-label": "Image of", onchange: () => { chosen.name = this.what.value; this.load(); } });
    this.scales = h("select", { "aria-label": "Colours", onchange: () => { chosen.scale = this.scales.value; this.paint(); } }, SCALES.map((name) => h("option", { selected: name === chosen.scale }, name)));
    this.modes = ["pick", "rect", "line"].map((mode) => h("button", { "data-mode": mode, "aria-pressed": String(mode === "pick"), title: MODES[mode][1], onclick: () => this.setMode(mode) }, MODES[mode][0]));
    this.state = h("span", { role: "status" });
    this.words = h("p", { class: "soft", role: "status" }, "Loading …");
    this.fitting = h("button", { hidden: true, title: "Fit every pixel by the pinned spectra, with fractions that are not negative", onclick: () => this.fit() }, "fit pins");
    this.analysing = h("button", { title: "Principal components of the spectra", onclick: () => this.analyse() }, "PCA");
    const controls = h("section", { class: "card controls", "aria-label": "What is drawn" },
      h("label", {}, "map", this.which), h("label", {}, "image of", this.what), h("label", { class: "spare" }, "colours", this.scales),
      h("span", { class: "tools small" }, this.modes, this.analysing, this.fitting), h("span", { class: "push" }, this.state));
    this.box = h("div", { class: "fill mapbox" });
    this.bar = h("canvas", { class: "colourbar", height: "46" });
    this.hover = h("p", { class: "soft hovered" }, "\u00a0");
    this.line = h("div", { class: "fill" });
    this.lineTitle = h("h2", {}, "Line profile");
    this.lineNote = h("span", { class: "note" });
    this.at = h("input", { type: "number", step: "any", hidden: true, "aria-label": "Energy, eV", onchange: () => Number.isFinite(this.at.valueAsNumber) && this.atEnergy([this.rowOf(this.at.valueAsNumber)], [this.rowOf(this.at.valueAsNumber)]) });
    this.lineCard = card("profile", "Profile", h("header", {}, this.lineTitle, this.lineNote, this.at), this.line);
    this.lineCard.hidden = true;
    this.beside = new Beside({ onPin: () => this.pin() });
    this.left = h("div", { class: "mapleft" }, card("mapcard", "Map", this.words, this.box, this.hover, this.bar), this.lineCard);
    main.append(h("div", { class: "map" }, controls, this.left, h("div", { class: "mapright" }, this.beside.elements)));
    this.image = new MapImage(this.box, {
      onHover: (place) => this.point(place),
      onPick: (place) => (this.series && this.image.mode === "line" ? this.atEnergy(place, place) : this.pick(this.series ? [place[1] * this.step] : place)),
      onRegion: (from, to) => this.region(...(this.series ? [[from[1] * this.step], [to[1] * this.step]] : [from, to])),
      onLine: (from, to) => (this.series ? this.atEnergy(from, to) : this.profile(from, to)),
    });
    this.chart = new Chart(this.line, { xLabel: "" });
    this.stopResizing = onResize(this.bar, () => this.drawBar());
  }

  setMode(mode) {
    this.image.mode = mode;
    for (const button of this.modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    if (this.series && this.fall) this.follow(mode);
  }

  // In a series a line is one across it: at an energy, at first the one at which most changes.
  follow(mode) {
    if (mode === "line" && !this.band) {
      const row = this.liveliest();
      return this.atEnergy([row], [row]);
    }
    if (mode === "line" || !this.band) return null;
    this.band = null;
    this.at.hidden = true;
    this.image.choose(null);
    return this.trend();
  }

  async read() {
    try {
      await this.look();
      this.failed = false;
    } catch (error) {
      this.failed = true;
      if (!this.gone) this.fail(error);
    }
  }

  async look() {
    const growing = this.about && this.about.status !== "complete";
    if (this.about && !growing && !this.failed && this.listed && Date.now() - this.listed < 5 * POLL_MS) return;
    const { maps } = await get("/api/maps");
    this.listed = Date.now();
    this.list(maps);
    const key = this.key ?? maps[0]?.key;
    if (this.gone) return;
    if (!key) {
      this.about = null;
      this.words.hidden = false;
      this.words.textContent = "There is no map in the catalog. “nearedge map … --store” puts one there.";
      return;
    }
    const about = await get(`/api/maps/${encodeURIComponent(key)}`);
    const before = this.about;
    const same = before && before.key === key && before.written === about.written && before.status === about.status;
    this.about = about;
    this.stand();
    if (!same || this.failed) await this.load(before?.key !== key);
  }

  fail(error) {
    this.words.hidden = false;
    this.words.textContent = error.status === 404 ? `${error.message}` : `The map cannot be read at the moment (${String(error.message).slice(0, 200)}); trying again.`;
    if (error.status === 404) put(this.words, `${error.message}: it may have been removed, or belong to another catalog. `, h("a", { href: "#map" }, "Show the newest"));
  }

  list(maps) {
    const all = maps.map((one) => one.key).join();
    if (this.known === all + this.key) return;
    this.known = all + this.key;
    const now = this.key ?? maps[0]?.key;
    put(this.which, maps.map((one) => h("option", { value: one.key, selected: one.key === now }, `${one.title || one.key.slice(0, 8)}, ${one.absorber} ${one.edge}, ${one.shape.join(" × ")}, ${dateTime(one.written)}`)));
  }

  // How far it is, and how it ended.
  stand() {
    const { status, pixels, answered, rejected, come } = this.about;
    const refused = Object.values(rejected ?? {}).reduce((sum, n) => sum + n, 0);
    const there = come ?? answered + refused;
    const grows = status !== "complete";
    const title = Object.entries(rejected ?? {}).map(([reason, n]) => `${reasonText(reason)}: ${n}`).join("; ");
    put(this.state, chip(grows ? `growing, ${pixels ? Math.floor((100 * there) / pixels) : 0} % of ${pixels}` : "complete", grows ? "busy" : "good"), " ",
      h("span", { class: "soft", title }, `${answered} answered, ${refused} rejected`));
  }

  async load(anew = false) {
    const { about } = this, key = encodeURIComponent(about.key);
    this.series = about.shape.length === 1;
    this.choices(anew);
    if (about.status !== "complete" && !about.come) {
      this.words.hidden = false;
      this.words.textContent = "Nothing of this map has come yet. It shows here as it grows.";
      return;
    }
    const fit = this.fits.get(chosen.name);
    const [own, flags, reasons] = await Promise.all([
      fit ?? numbers(`/api/maps/${key}/figure/${chosen.name}`, chosen.name === "group" ? Int32Array : Float32Array),
      numbers(`/api/maps/${key}/figure/flags`, Uint32Array).catch(absent),
      numbers(`/api/maps/${key}/figure/reason`, Int16Array),
    ]);
    if (this.gone || about !== this.about) return;
    this.values = own.values;
    this.flags = flags?.values;
    this.reasons = reasons.values;
    this.states = this.judge();
    if (this.series) {
      await this.waterfall(key);
    }
    this.image.stretch = this.series;
    if (this.gone || about !== this.about) return;
    this.words.hidden = true;
    this.paint();
    for (const button of this.modes) [button.textContent, button.title] = (this.series && SERIES_MODES[button.dataset.mode]) || MODES[button.dataset.mode];
    if (anew) {
      this.band = null;
      this.at.hidden = true;
      if (this.series) this.setMode("pick");
      this.image.choose(null);
      this.beside.pins = [];
      this.beside.say("Choose a pixel", this.series ? "Click into the waterfall, or use the arrow keys." : "Click into the image, or use the arrow keys. Drag a rectangle or a line with the buttons above.");
    }
    if (this.series) this.below();
    else if (this.lined) this.profile(...this.lined);
  }

  choices(anew) {
    if (anew) this.fits.clear();
    const own = this.about.figures.map((one) => [one.name, one.unit ? `${one.title}, ${one.unit}` : one.title, one.meaning]);
    const fitted = [...this.fits].map(([name, one]) => [name, one.title, one.meaning]);
    if (![...own, ...fitted].some(([name]) => name === chosen.name)) chosen.name = "cn_mean";
    put(this.what, [...own, ...fitted].map(([name, text, title]) => h("option", { value: name, title, selected: name === chosen.name }, text)));
  }

  figure() {
    return this.fits.get(chosen.name) ?? this.about.figures.find((one) => one.name === chosen.name);
  }

  // Not yet there, answered, doubtful or rejected, for each pixel.
  judge() {
    const names = this.about.flag_names ?? [];
    let low = 0, high = 0;
    names.forEach((name, k) => {
      if (EXPECTED.has(name)) return;
      if (k < 32) low |= 1 << k;
      else high |= 1 << (k - 32);
    });
    return Uint8Array.from(this.reasons, (reason, i) => {
      if (reason < -1) return STATE.nothing;
      if (reason >= 0) return STATE.rejected;
      const doubts = this.flags && ((this.flags[2 * i] & low) | (this.flags[2 * i + 1] & high));
      return doubts ? STATE.doubtful : STATE.answered;
    });
  }

  paint() {
    if (!this.values) return;
    const groups = chosen.name === "group";
    this.range = usualRange(this.values.filter((_, i) => this.states[i] === STATE.answered || this.states[i] === STATE.doubtful));
    if (this.series) {
      const { values, shape, states } = this.fall;
      this.image.set({ values, states, shape, range: usualRange(values), scale: chosen.scale, groups: false });
      this.barRange = usualRange(values);
    } else {
      this.image.set({ values: this.values, states: this.states, shape: this.about.shape.length > 2 ? [this.about.shape.slice(0, -1).reduce((a, b) => a * b), this.about.shape.at(-1)] : this.about.shape, range: this.range, scale: chosen.scale, groups });
      this.barRange = this.range;
    }
    const name = this.series ? "normalised spectra" : this.figure().title;
    this.image.canvas.setAttribute("aria-label", `${name} over ${this.about.shape.join(" by ")} pixels. Arrow keys choose a pixel, plus and minus zoom.`);
    this.drawBar();
    if (this.series && this.trended) this.trend();
  }

  // Colours and what they stand for; below them, what is no colour.
  drawBar() {
    const { bar } = this, width = bar.getBoundingClientRect().width;
    if (!this.barRange || width < 40) return;
    const ratio = devicePixelRatio;
    bar.width = width * ratio;
    bar.height = 46 * ratio;
    const context = bar.getContext("2d"), { soft } = theme();
    context.scale(ratio, ratio);
    context.font = FONT;
    context.fillStyle = soft;
    const groups = chosen.name === "group" && !this.series;
    const colours = table(chosen.scale), long = Math.max(60, width - 2);
    const one = this.series ? { title: `normalised spectra, energy upwards from ${this.fall.ends[0]} to ${this.fall.ends[1]} eV`, unit: "edge steps", digits: 2 } : this.figure();
    if (groups) {
      GROUPS.slice(0, Math.max(1, this.about.groups?.length || 8)).forEach((colour, i) => {
        context.fillStyle = `rgb(${channels(colour)})`;
        context.fillRect(1 + i * 44, 0, 16, 14);
        context.fillStyle = soft;
        context.fillText(String(i), 21 + i * 44, 11);
      });
    } else {
      for (let i = 0; i < 256; i++) {
        context.fillStyle = `rgb(${colours.slice(3 * i, 3 * i + 3)})`;
        context.fillRect(1 + (i * long) / 256, 0, long / 256 + 1, 14);
      }
      context.fillStyle = soft;
      const [lo, hi] = this.barRange;
      const digits = Math.max(one.digits ?? 2, Math.min(5, Math.ceil(-Math.log10((hi - lo) / 20))));
      [[lo, "left", 1], [(lo + hi) / 2, "center", width / 2], [hi, "right", width - 2]].forEach(([value, align, x]) => {
        context.textAlign = align;
        context.fillText(number(value, digits), x, 27);
      });
    }
    context.textAlign = "left";
    context.fillText(`${one.title}${one.unit ? `, ${one.unit}` : ""}   ▚ rejected   ╱ flagged   blank: not yet`, 1, 42);
  }

  index(place) {
    return place.reduce((at, i, k) => at * this.about.shape[k] + i, 0);
  }

  where(place) {
    return place.map((i, k) => {
      const { name, unit, positions } = this.about.axes[k];
      return `${name} ${number(positions[i], 2)}${unit ? ` ${unit}` : ""}`;
    }).join(", ");
  }

  // What lies under the pointer: from what is here already.
  point(seen) {
    if (!seen || !this.about || !this.values) return put(this.hover, "\u00a0");
    const place = this.series ? [Math.min(seen[1] * this.step, this.about.shape[0] - 1)] : seen;
    const at = this.index(place), state = this.states[at], one = this.figure();
    const what = state === STATE.nothing ? "not yet" : state === STATE.rejected ? `rejected: ${reasonText(this.about.reasons[this.reasons[at]])}` : `${one.title} ${number(this.values[at], one.digits)} ${one.unit ?? ""}`;
    const flags = (this.about.flag_names ?? []).filter((name, k) => !EXPECTED.has(name) && this.flags && this.flags[2 * at + (k >> 5)] & (1 << (k & 31)));
    put(this.hover, `${this.where(place)}: ${what}${flags.length ? `; ${flags.map(flagText).join("; ")}` : ""}`);
  }

  async pick(place) {
    if (!this.about) return;
    this.place = place;
    this.marked(place, place);
    const mine = ++this.asked, key = encodeURIComponent(this.about.key);
    try {
      const began = performance.now();
      const told = await get(`/api/maps/${key}/pixel?at=${place}`);
      if (mine !== this.asked || this.gone) return;
      this.beside.pixel(told, this.where(place));
      this.opened = performance.now() - began;
      if (told.state !== "answered") return;
      await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
      const answer = await this.invert(mine, place, place);
      if (answer) this.beside.drawn(answer);
    } catch (error) {
      if (mine === this.asked && !this.gone) this.beside.trouble(error.message);
    }
  }

  async region(from, to) {
    const mine = ++this.asked, key = encodeURIComponent(this.about.key);
    this.marked(from, to);
    const where = `${this.where(from)} to ${this.where(to)}`;
    try {
      const began = performance.now();
      const told = await get(`/api/maps/${key}/region?from=${from}&to=${to}`);
      if (mine !== this.asked || this.gone) return;
      this.beside.region(told, where, "being inverted …");
      const answer = await this.invert(mine, from, to);
      if (answer) this.beside.region(answer, where, "");
      this.summed = performance.now() - began;
    } catch (error) {
      if (mine !== this.asked || this.gone) return;
      this.beside.say(where, error.message);
    }
  }

  // A worker that is busy with measured spectra is asked again.
  async invert(mine, from, to) {
    const key = encodeURIComponent(this.about.key);
    for (let attempt = 0; attempt < TRIES && mine === this.asked && !this.gone; attempt++) {
      try {
        const told = await get(`/api/maps/${key}/region?from=${from}&to=${to}&answer=1`);
        return mine === this.asked && !this.gone ? told : null;
      } catch (error) {
        if (error.status !== 503 || attempt === TRIES - 1) throw error;
        if (mine === this.asked) this.beside.trouble(`${error.message}; trying again.`);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }
    return null;
  }

  marked(from, to) {
    if (!this.series) return this.image.choose({ kind: "rect", from, to });
    const [a, b] = [from[0], to[0]].map((i) => Math.floor(i / this.step));
    this.image.choose({ kind: "rect", from: [0, a], to: [this.fall.shape[0] - 1, b] });
  }

  pin() {
    this.beside.keep(this.where(this.place), this.place);
    this.fitting.hidden = this.beside.pins.length < 2;
  }

  // Every pixel as a sum of the pinned spectra; the fractions become images.
  async fit() {
    const { pins } = this.beside, key = encodeURIComponent(this.about.key);
    try {
      const found = await numbers(`/api/maps/${key}/mixtures?members=${pins.map((one) => one.place.join(",")).join(";")}`, Float32Array);
      const size = found.values.length / (pins.length + 2);
      const part = (k) => ({ values: found.values.slice(k * size, (k + 1) * size), unit: "", digits: 2, meaning: "linear combination fit, fractions not negative" });
      pins.forEach((one, k) => this.fits.set(`fraction:${k}`, { ...part(k), title: `fraction of ${one.name}` }));
      this.fits.set("fraction:sum", { ...part(pins.length), title: "sum of the fractions" });
      this.fits.set("fraction:misfit", { ...part(pins.length + 1), title: "misfit of the fit", unit: "edge steps", digits: 3 });
      chosen.name = "fraction:0";
      await this.load();
    } catch (error) {
      this.beside.trouble(error.message);
    }
  }

  async analyse() {
    try {
      const found = await get(`/api/maps/${encodeURIComponent(this.about.key)}/components`);
      this.lineCard.hidden = false;
      this.lined = null;
      this.band = null;
      this.at.hidden = true;
      this.lineTitle.textContent = "Principal components";
      this.lineNote.textContent = `${found.rank} stand out of the noise; shares ${found.shares.slice(0, 4).map((share) => `${number(100 * share, 1)} %`).join(", ")}; from ${found.pixels} spectra`;
      this.chart.set([{ label: "mean", x: found.energy, y: found.mean, colour: "faint", dash: [5, 3] },
        ...found.vectors.map((y, k) => ({ label: `component ${k + 1}`, x: found.energy, y, colour: ["first", "second", "third", "ink"][k] }))], { xLabel: "energy, eV", yLabel: "edge steps", bands: [] });
      this.trended = false;
    } catch (error) {
      this.beside.trouble(error.message);
    }
  }

  // The figure along a drawn line, with its 90 % band where it has one.
  async profile(from, to) {
    if (this.series) return;
    this.lined = [from, to];
    this.image.choose({ kind: "line", from, to });
    const places = along(from, to), axes = this.about.axes;
    const scale = axes.map(({ positions }) => (positions.length > 1 ? (positions.at(-1) - positions[0]) / (positions.length - 1) : 1));
    const x = places.map((place) => Math.hypot(...place.map((i, k) => (i - from[k]) * scale[k])));
    const rows = places.map((place) => this.index(place));
    this.drawLine(x, rows, { title: "Line profile", xLabel: `distance along the line${axes[1]?.unit ? `, ${axes[1].unit}` : ""}` });
  }

  async drawLine(x, rows, { title, xLabel }) {
    const one = this.figure(), name = BANDED.find((known) => known === chosen.name), key = encodeURIComponent(this.about.key);
    const ends = name ? await Promise.all(["lo", "hi"].map((end) => numbers(`/api/maps/${key}/figure/${name}_${end}`, Float32Array))).catch(() => null) : null;
    if (this.gone) return;
    const read = (values) => rows.map((at) => (Number.isFinite(values[at]) && this.states[at] !== STATE.nothing ? values[at] : null));
    this.lineCard.hidden = false;
    this.lineTitle.textContent = title;
    this.lineNote.textContent = ends ? "shaded: 90 % interval" : "";
    this.chart.set([
      { label: one.title, x, y: read(this.values), colour: "first", points: x.length < 60 },
      ...(ends ?? []).map(({ values }, k) => ({ label: k ? "to" : "from", x, y: read(values), colour: "faint", width: 0.5 })),
    ], { xLabel, yLabel: one.unit ? `${one.title}, ${one.unit}` : one.title, bands: ends ? [[3, 2]] : [] });
  }

  trend() {
    const { name, unit, positions } = this.about.axes[0];
    this.trended = true;
    return this.drawLine(positions, positions.map((_, i) => i), { title: "Trend", xLabel: unit ? `${name}, ${unit}` : name });
  }

  // Energies upwards, the series to the right.
  async waterfall(key) {
    const response = await fetch(`/api/maps/${key}/spectra`);
    if (!response.ok) throw Object.assign(new Error(await response.text()), { status: response.status });
    const [count, size] = response.headers.get("X-Shape").split(",").map(Number);
    const bytes = await response.arrayBuffer();
    const rows = new Int32Array(bytes, 0, count), energy = new Float32Array(bytes, 4 * count, size), spectra = new Float32Array(bytes, 4 * (count + size));
    const ends = [energy[0], energy.at(-1)].map((e) => e.toFixed(0));
    this.step = count > 1 ? rows[1] - rows[0] : 1;
    const values = new Float32Array(count * size), states = new Uint8Array(count * size);
    for (let k = 0; k < count; k++) {
      for (let e = 0; e < size; e++) {
        const at = (size - 1 - e) * count + k;
        values[at] = spectra[k * size + e];
        states[at] = this.states[rows[k]] === STATE.doubtful ? STATE.answered : this.states[rows[k]];
      }
    }
    this.fall = { values, states, shape: [size, count], ends, energy, rows };
  }

  // The mean intensity between two rows of the waterfall, along the series.
  atEnergy([from], [to]) {
    const { values, states, shape: [size, count], energy, rows } = this.fall;
    const [top, bottom] = [Math.min(from, to), Math.min(Math.max(from, to), size - 1)];
    this.band = [energy[size - 1 - bottom], energy[size - 1 - top]];
    const mean = (k) => {
      let sum = 0;
      for (let row = top; row <= bottom; row++) sum += values[row * count + k];
      const known = states[k] !== STATE.nothing && Number.isFinite(sum);
      return known ? sum / (bottom - top + 1) : null;
    };
    const { name, unit, positions } = this.about.axes[0];
    this.image.choose({ kind: top === bottom ? "line" : "rect", from: [top, 0], to: [bottom, count - 1] });
    this.lineCard.hidden = false;
    this.lineTitle.textContent = "Intensity along the series";
    this.lineNote.textContent = top === bottom ? `at ${number(this.band[0], 2)} eV` : `mean of ${number(this.band[0], 2)} to ${number(this.band[1], 2)} eV`;
    const x = Array.from(rows, (row) => positions[row]);
    this.chart.set([{ label: "intensity", x, y: x.map((_, k) => mean(k)), colour: "first", points: count < 60 }], { xLabel: unit ? `${name}, ${unit}` : name, yLabel: "edge steps", bands: [] });
    this.at.hidden = false;
    this.at.value = number((this.band[0] + this.band[1]) / 2, 2);
    this.trended = false;
  }

  // The row of the waterfall that is nearest to an energy.
  rowOf(energy) {
    let best = 0;
    this.fall.energy.forEach((one, k) => { if (Math.abs(one - energy) < Math.abs(this.fall.energy[best] - energy)) best = k; });
    return this.fall.shape[0] - 1 - best;
  }

  // The row of the waterfall that varies most along the series.
  liveliest() {
    const { values, shape: [size, count] } = this.fall;
    const spread = (row) => {
      const known = values.subarray(row * count, (row + 1) * count).filter(Number.isFinite);
      const mean = known.reduce((a, b) => a + b, 0) / known.length;
      return known.reduce((sum, one) => sum + (one - mean) ** 2, 0) / known.length || 0;
    };
    const spreads = Array.from({ length: size }, (_, row) => spread(row));
    return spreads.indexOf(Math.max(...spreads));
  }

  // What is drawn below a series: the intensity at the chosen energies, or the figure.
  below() {
    if (!this.band) return this.trend();
    return this.atEnergy([this.rowOf(this.band[1])], [this.rowOf(this.band[0])]);
  }

  press(event) {
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || !this.about) return;
    if (event.target.closest?.(".stage")) return; // there they turn the clusters
    if (event.key === "+" || event.key === "=") return this.image.zoom(1.5);
    if (event.key === "-") return this.image.zoom(1 / 1.5);
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    const { shape } = this.about;
    const by = this.series ? [move[1] || -move[0]] : [...Array(shape.length - 2).fill(0), ...move];
    const place = (this.place ?? shape.map((n) => n >> 1)).map((i, k) => (this.place ? i + by[k] : i));
    if (place.every((i, k) => i >= 0 && i < shape[k])) this.pick(place);
  }

  destroy() {
    this.gone = true;
    clearInterval(this.timer);
    this.stop();
    this.stopResizing();
    removeEventListener("keydown", this.onKey);
    this.image.destroy();
    this.chart.destroy();
    this.beside.destroy();
  }
}

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const MODES = {
  pick: ["pixel", "Click on a pixel to open it; drag to move, wheel to zoom, double-click to see all"],
  rect: ["rectangle", "Drag a rectangle: the sum of its spectra is inverted"],
  line: ["line", "Drag a line: the figure along it is drawn"],
};

const SERIES_MODES = {
  pick: ["spectrum", "Click on a spectrum to open it; drag to move, wheel to zoom, double-click to see all"],
  rect: ["some", "Drag over some spectra: their sum is inverted"],
  line: ["energy", "Click at an energy, or drag over some: the intensity there is drawn along the series"],
};

// Some arrays may not be there yet while a map grows.
function absent(error) {
  if (error.status === 404) return null;
  throw error;
}
