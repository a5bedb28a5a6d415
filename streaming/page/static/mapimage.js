// An image of numbers on a canvas: pan, zoom, hover, and a pixel, a rectangle or a line chosen.

import { h, onResize } from "./dom.js";
import { GROUPS, channels, table } from "./colours.js";
import { theme } from "./theme.js";

const FURTHEST = 60; // screen points for each pixel
const MARKED = 5; // from this size on, doubtful pixels get a stroke
const NEAR = 4; // a press that moves less is a click
export const STATE = { nothing: 0, answered: 1, doubtful: 2, rejected: 3 };
const GREY = [128, 128, 128];

export class MapImage {
  constructor(element, { onHover, onPick, onRegion, onLine }) {
    this.element = element;
    this.calls = { onHover, onPick, onRegion, onLine };
    this.canvas = h("canvas", { tabindex: "0", role: "application", class: "mapcanvas" });
    element.append(this.canvas);
    this.source = document.createElement("canvas");
    this.mode = "pick";
    this.view = null; // { scale, x, y }: screen = scale · pixel + offset
    this.chosen = null;
    this.shape = [0, 0];
    this.stretch = false; // whether pixels need not be square
    this.aspect = 1;
    this.stop = onResize(element, () => this.fit(false));
    this.listen();
  }

  // values and states over the pixels, row by row; `range` is that of the colours.
  set({ values, states, shape, range, scale, groups }) {
    const same = this.shape[0] === shape[0] && this.shape[1] === shape[1];
    Object.assign(this, { values, states, shape, range, scale, groups });
    this.paint();
    if (!same || !this.view) this.fit(true);
    this.draw();
  }

  paint() {
    const [rows, columns] = this.shape;
    this.source.width = Math.max(1, columns);
    this.source.height = Math.max(1, rows);
    if (!rows || !columns) return;
    const context = this.source.getContext("2d");
    const image = context.createImageData(columns, rows);
    const colours = table(this.scale);
    const [lo, hi] = this.range;
    const factor = 255 / (hi - lo || 1);
    const named = GROUPS.map(channels);
    const { data } = image;
    for (let i = 0; i < rows * columns; i++) {
      const at = 4 * i, value = this.values[i], state = this.states[i];
      if (state === STATE.nothing) continue; // transparent
      if (state === STATE.rejected || !Number.isFinite(value)) {
        const light = ((i % columns) + Math.floor(i / columns)) % 2 ? 96 : 160; // a chequer is no colour of the bar
        data[at] = data[at + 1] = data[at + 2] = light;
      } else if (this.groups) {
        data.set(value < 0 ? GREY : named[value % named.length], at);
      } else {
        const k = 3 * Math.max(0, Math.min(255, Math.round((value - lo) * factor)));
        data[at] = colours[k];
        data[at + 1] = colours[k + 1];
        data[at + 2] = colours[k + 2];
      }
      data[at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  // Show all of it, in the middle.
  fit(anew) {
    const box = this.element.getBoundingClientRect();
    const ratio = devicePixelRatio;
    this.canvas.width = Math.max(10, Math.floor(box.width * ratio));
    this.canvas.height = Math.max(10, Math.floor(box.height * ratio));
    const [rows, columns] = this.shape;
    if (!rows || !columns || !box.width) return;
    if (this.stretch) this.aspect = (box.height / rows) / (box.width / columns);
    else this.aspect = 1;
    const least = Math.min(box.width / columns, box.height / rows / this.aspect);
    if (anew || !this.view || this.view.scale <= this.least) {
      this.view = { scale: least, x: (box.width - least * columns) / 2, y: (box.height - least * this.aspect * rows) / 2 };
    }
    this.least = least;
    this.draw();
  }

  // One drawing for each picture of the screen, however many events there are.
  draw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      const began = performance.now();
      this.render();
      this.took = performance.now() - began;
    });
  }

  render() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.view || !this.shape[0]) return;
    const ratio = devicePixelRatio, { scale, x, y } = this.view, tall = scale * this.aspect;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = false;
    const [rows, columns] = this.shape;
    context.drawImage(this.source, x, y, scale * columns, tall * rows);
    context.strokeStyle = theme().line;
    context.strokeRect(x, y, scale * columns, tall * rows);
    if (Math.min(scale, tall) >= MARKED) this.mark(context);
    this.outline(context);
  }

  // A stroke across each doubtful pixel that is seen.
  mark(context) {
    const { scale, x, y } = this.view, tall = scale * this.aspect, [rows, columns] = this.shape;
    const box = this.canvas.getBoundingClientRect();
    const from = (offset, size) => Math.max(0, Math.floor(-offset / size));
    const to = (offset, size, window, count) => Math.min(count, Math.ceil((window - offset) / size));
    context.beginPath();
    for (let row = from(y, tall); row < to(y, tall, box.height, rows); row++) {
      for (let column = from(x, scale); column < to(x, scale, box.width, columns); column++) {
        if (this.states[row * columns + column] !== STATE.doubtful) continue;
        context.moveTo(x + (column + 0.2) * scale, y + (row + 0.8) * tall);
        context.lineTo(x + (column + 0.8) * scale, y + (row + 0.2) * tall);
      }
    }
    this.twice(context);
  }

  // White upon black is seen on every colour.
  twice(context) {
    context.lineWidth = 3;
    context.strokeStyle = "#000";
    context.stroke();
    context.lineWidth = 1.25;
    context.strokeStyle = "#fff";
    context.stroke();
  }

  outline(context) {
    const shown = this.drag?.moved ? this.dragged() : this.chosen;
    if (!shown) return;
    const { scale, x, y } = this.view, tall = scale * this.aspect, [a, b] = [shown.from, shown.to];
    context.beginPath();
    if (shown.kind === "line") {
      context.moveTo(x + (a[1] + 0.5) * scale, y + (a[0] + 0.5) * tall);
      context.lineTo(x + (b[1] + 0.5) * scale, y + (b[0] + 0.5) * tall);
    } else {
      const [top, left] = [Math.min(a[0], b[0]), Math.min(a[1], b[1])];
      const [high, wide] = [Math.abs(a[0] - b[0]) + 1, Math.abs(a[1] - b[1]) + 1];
      context.rect(x + left * scale - 1, y + top * tall - 1, wide * scale + 2, high * tall + 2);
    }
    this.twice(context);
  }

  dragged() {
    return { kind: this.mode === "line" ? "line" : "rect", from: this.drag.place, to: this.drag.now };
  }

  choose(chosen) {
    this.chosen = chosen;
    this.draw();
  }

  // The pixel under a place of the window; with `inside` the nearest one.
  under(event, inside = false) {
    const box = this.canvas.getBoundingClientRect(), { scale, x, y } = this.view;
    const at = [Math.floor((event.clientY - box.top - y) / (scale * this.aspect)), Math.floor((event.clientX - box.left - x) / scale)];
    if (inside) return at.map((i, k) => Math.max(0, Math.min(this.shape[k] - 1, i)));
    return at.every((i, k) => i >= 0 && i < this.shape[k]) ? at : null;
  }

  zoom(factor, event) {
    const box = this.canvas.getBoundingClientRect();
    const px = event ? event.clientX - box.left : box.width / 2, py = event ? event.clientY - box.top : box.height / 2;
    const before = this.view.scale;
    const scale = Math.max(this.least, Math.min(FURTHEST, before * factor));
    if (scale <= this.least) return this.fit(true);
    const ratio = scale / before;
    this.view = { scale, x: px - ratio * (px - this.view.x), y: py - ratio * (py - this.view.y) };
    this.draw();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => {
      if (!this.view) return;
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.25 : 0.8, event);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    canvas.addEventListener("pointerleave", () => this.calls.onHover(null));
    canvas.addEventListener("dblclick", () => this.fit(true));
  }

  down(event) {
    if (!this.view) return;
    const place = this.under(event, true);
    this.drag = { place, now: place, x: event.clientX, y: event.clientY, view: { ...this.view }, moved: false };
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.view) return;
    this.calls.onHover(this.under(event), event);
    const { drag } = this;
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (Math.hypot(dx, dy) > NEAR) drag.moved = true;
    drag.now = this.under(event, true);
    if (this.mode === "pick" && drag.moved) this.view = { ...this.view, x: drag.view.x + dx, y: drag.view.y + dy };
    this.draw();
  }

  up(event) {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (!drag.moved) {
      const place = this.under(event);
      if (place) this.calls.onPick(place);
    } else if (this.mode === "rect") this.calls.onRegion(drag.place, drag.now);
    else if (this.mode === "line") this.calls.onLine(drag.place, drag.now);
    this.draw();
  }

  destroy() {
    cancelAnimationFrame(this.pending);
    this.stop();
    this.canvas.remove();
  }
}

// The pixels along a line, each once.
export function along([r0, c0], [r1, c1]) {
  const steps = Math.max(Math.abs(r1 - r0), Math.abs(c1 - c0));
  return Array.from({ length: steps + 1 }, (_, k) => [r0, c0].map((at, i) => Math.round(at + ((steps ? k / steps : 0) * ([r1, c1][i] - at)))));
}
