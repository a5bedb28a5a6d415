// Line charts with uPlot, in the colours of the page.

import { FONT, theme } from "./theme.js";
import { h, onResize } from "./dom.js";

/* global uPlot */

// A chart that fills its element. `lines`: [{label, x, y, colour, dash, width, points}]; a colour is
// the name of one of the page's, or any other. Labels may name `bands`: pairs of lines, the upper
// one first, between which it is shaded; `whole` says that x counts something.
export class Chart {
  constructor(element, { xLabel, yLabel, marks = () => ({}), sync = null }) {
    this.element = element;
    this.sync = sync; // charts of one name are zoomed, and pointed at, together
    this.labels = { xLabel, yLabel };
    this.marks = marks;
    this.plot = null;
    this.shape = "";
    this.stopResizing = onResize(element, () => this.resize());
    this.readout = h("p", { class: "readout", hidden: true });
  }

  // What lies under the cursor: where, and the first line's value there.
  read(plot) {
    const { idx, left } = plot.cursor;
    const lines = plot.series.slice(1).map((line, i) => [line.label, plot.data[i + 1][idx]]);
    const found = lines.filter(([, value]) => value !== null && value !== undefined);
    this.readout.hidden = idx === null || idx === undefined || left < 0 || !found.length;
    if (this.readout.hidden) return;
    const unit = this.labels.xLabel.split(", ")[1] ?? "";
    const more = found.length > READ ? `, and ${found.length - READ} more` : "";
    this.readout.textContent = `${round(plot.data[0][idx])} ${unit}: ${found.slice(0, READ).map(([label, value]) => `${label} ${round(value)}`).join(", ")}${more}`;
  }

  set(lines, labels = {}) {
    Object.assign(this.labels, labels);
    const drawn = lines.filter((line) => line.x && line.x.length > 1);
    if (!drawn.length) return this.clear();
    this.describe(drawn);
    const data = uPlot.join(drawn.map((line) => [line.x, line.y]));
    const shape = JSON.stringify([this.labels, drawn.map(({ x, y, ...style }) => style)]);
    if (this.plot && shape === this.shape) return this.plot.setData(data);
    this.clear();
    this.shape = shape;
    this.plot = new uPlot(this.options(drawn), data, this.element);
    this.element.append(this.readout);
  }

  // For those who do not see it.
  describe(lines) {
    const { xLabel, yLabel } = this.labels;
    const names = lines.map((line) => `${line.label}, ${line.x.length} points`).join("; ");
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", `${yLabel ?? "value"} against ${xLabel}: ${names}`);
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.shape = "";
    this.readout.remove();
  }

  destroy() {
    this.stopResizing();
    this.clear();
  }

  resize() {
    this.plot?.setSize(this.size());
  }

  size() {
    const box = this.element.getBoundingClientRect();
    return { width: Math.max(50, box.width), height: Math.max(50, box.height) };
  }

  options(lines) {
    const colours = theme();
    return {
      ...this.size(),
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: true, y: false }, points: { show: false }, ...(this.sync && { sync: { key: this.sync, scales: ["x", null] } }) },
      scales: { x: { time: false } },
      axes: [{ ...axis(colours, this.labels.xLabel, 24), ...(this.labels.whole && { incrs: WHOLE }) }, axis(colours, this.labels.yLabel, 42)],
      bands: (this.labels.bands ?? []).map((ends) => ({ series: ends, fill: colours.window })),
      series: [{}, ...lines.map((line) => series(line, colours))],
      hooks: { setCursor: [(plot) => this.read(plot)], drawClear: [(plot) => drawMarks(plot, this.marks(), colours)] },
    };
  }
}

const WHOLE = [1, 2, 5, 10, 20, 50];
const READ = 4; // values under the cursor that are told

// Five figures, without the noise of binary fractions.
const round = (value) => String(Number(value.toPrecision(Math.abs(value) >= 1000 ? 6 : 4))).replace("-", "−");

export function axis(colours, label, size) {
  return {
    label,
    labelFont: FONT,
    labelSize: label ? 15 : 0,
    labelGap: 0,
    font: FONT,
    size,
    values: (plot, ticks, index, space, step) => ticks.map((value) => tick(value, step)),
    stroke: colours.soft,
    grid: { stroke: colours.line, width: 1 },
    ticks: { stroke: colours.line, size: 4 },
    gap: 4,
  };
}

// All ticks of an axis have the decimals of its step.
function tick(value, step) {
  if (value === null) return "";
  const decimals = String(Number(step.toPrecision(6))).split(".")[1] ?? "";
  return value.toFixed(decimals.length).replace("-", "−");
}

function series(line, colours) {
  const colour = colours[line.colour] ?? line.colour;
  return {
    label: line.label,
    stroke: colour,
    width: line.width ?? 1.75,
    dash: line.dash,
    points: { show: Boolean(line.points), size: 4, fill: colour },
    spanGaps: true,
  };
}

// Shade windows and draw vertical lines: {windows: [{name, from, to}], lines: [{at, name}]}.
function drawMarks(plot, { windows = [], lines = [] }, colours) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const { from, to } of windows) {
    const left = plot.valToPos(from, "x", true);
    ctx.fillStyle = colours.window;
    ctx.fillRect(left, bbox.top, plot.valToPos(to, "x", true) - left, bbox.height);
  }
  for (const { at, name } of lines) {
    const x = Math.round(plot.valToPos(at, "x", true)) + 0.5;
    ctx.strokeStyle = colours.second;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = colours.second;
    ctx.textAlign = "left"; // the axes leave their own behind
    ctx.textBaseline = "alphabetic";
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.fillText(name, x + 4 * devicePixelRatio, bbox.top + bbox.height - 6 * devicePixelRatio);
  }
  ctx.restore();
}
