// An SVG chart in real pixels, with axes, shapes given in data coordinates, and handles to drag or to move by keys.

import { element } from "./stage.js";

const SVG = "http://www.w3.org/2000/svg";
const REACH = 22; // pixels around a handle that a finger may miss it by
const PROJECTED = 0.44; // of the height of a full screen, the most that one chart takes of it
const MARKS = { round: { rx: 9, ry: 9 }, wide: { rx: 5, ry: 10 }, tall: { rx: 10, ry: 5 } };

function svg(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export const signed = (value) => String(value).replace("-", "−");
export const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Round numbers between low and high, some `count` of them. */
export function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const made = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) made.push(Number((k * step).toPrecision(12)));
  return made;
}

export class Chart {
  /**
   * @param stage the stage that draws it
   * @param parent the element it fills the width of
   * @param label what a screen reader calls it
   * @param shape (width in em) -> height in em; `margin` in em; `bare` without words and numbers; `projected` the most of a full screen's height that it takes
   */
  constructor(stage, parent, { label, shape, margin = {}, bare = false, projected = PROJECTED }) {
    this.shape = shape;
    this.projected = projected;
    this.bare = bare; // without words and numbers
    this.margin = { left: 3.4, right: 0.8, top: 0.7, bottom: 2.6, ...margin }; // em
    this.domain = { x: [0, 1], y: [0, 1] };
    this.svg = svg("svg", { role: "group", "aria-label": label });
    this.layer = svg("g", { "aria-hidden": "true" });
    this.top = svg("g");
    this.svg.append(this.layer, this.top);
    this.plot = element("div", { class: "pg-plot" });
    this.plot.append(this.svg);
    this.title = element("p", { class: "pg-caption", "aria-hidden": "true" });
    this.box = element("div", { class: "pg-chart" }, this.title, this.plot);
    parent.append(this.box);
    this.handles = [];
    stage.charts.push(this);
  }

  measure() {
    this.em = parseFloat(getComputedStyle(this.svg).fontSize);
    this.width = this.plot.clientWidth;
    const most = document.fullscreenElement ? this.projected * innerHeight : Infinity;
    this.height = Math.round(Math.min(most, this.shape(this.width / this.em) * this.em));
    const edge = Object.fromEntries(Object.entries(this.margin).map(([side, em]) => [side, em * this.em]));
    this.inner = { left: edge.left, right: this.width - edge.right, top: edge.top, bottom: this.height - edge.bottom };
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("width", this.width);
    this.svg.setAttribute("height", this.height);
  }

  x(value) {
    const [low, high] = this.domain.x;
    return this.inner.left + ((value - low) / (high - low)) * (this.inner.right - this.inner.left);
  }

  y(value) {
    const [low, high] = this.domain.y;
    return this.inner.bottom - ((value - low) / (high - low)) * (this.inner.bottom - this.inner.top);
  }

  fromX(pixels) {
    const [low, high] = this.domain.x;
    return low + ((pixels - this.inner.left) / (this.inner.right - this.inner.left)) * (high - low);
  }

  fromY(pixels) {
    const [low, high] = this.domain.y;
    return low + ((this.inner.bottom - pixels) / (this.inner.bottom - this.inner.top)) * (high - low);
  }

  // ---- shapes: each returns markup for `paint` ---------------------------------------------------------------------

  paint(...shapes) {
    this.layer.innerHTML = shapes.flat(Infinity).join("");
  }

  path(points) {
    const { top, bottom } = this.inner;
    const within = (pixels) => Math.min(bottom + 2, Math.max(top - 6, pixels));
    return points.map(([x, y], k) => `${k ? "L" : "M"}${this.x(x).toFixed(2)} ${within(this.y(y)).toFixed(2)}`).join("");
  }

  line(points, kind) {
    return points.length ? `<path class="${kind}" d="${this.path(points)}"/>` : "";
  }

  area(points, kind, base = 0) {
    if (!points.length) return "";
    const ends = [[points.at(-1)[0], base], [points[0][0], base]];
    return `<path class="${kind}" d="${this.path([...points, ...ends])}Z"/>`;
  }

  bar(x, halfWidth, low, high, kind) {
    const [top, bottom] = [Math.max(this.y(Math.max(low, high)), 0), this.y(Math.min(low, high))];
    const [left, right] = [this.x(x - halfWidth), this.x(x + halfWidth)];
    return `<rect class="${kind}" x="${left}" y="${top}" width="${right - left}" height="${Math.max(0, bottom - top)}"/>`;
  }

  words(text, x, y, kind = "", anchor = "start") {
    return `<text class="${kind}" x="${x}" y="${y}" text-anchor="${anchor}">${escaped(text)}</text>`;
  }

  dot(x, y, radius, kind) {
    return `<circle class="${kind}" cx="${this.x(x)}" cy="${this.y(y)}" r="${radius}"/>`;
  }

  /** The axes: numbers below and at the left, with their words. */
  axes({ x = null, y = null, xLabel = "", yLabel = "", xText = signed, yText = signed, baseline = this.domain.y[0] }) {
    const { left, right, top, bottom } = this.inner;
    const em = this.em;
    const made = [];
    for (const value of y ?? []) {
      made.push(`<line class="pg-grid" x1="${left}" x2="${right}" y1="${this.y(value)}" y2="${this.y(value)}"/>`);
      made.push(this.words(yText(value), left - 0.4 * em, this.y(value) + 0.35 * em, "pg-tick", "end"));
    }
    for (const value of x ?? []) made.push(this.words(xText(value), this.x(value), bottom + 1.1 * em, "pg-tick", "middle"));
    const axis = `<line class="pg-axis" x1="${left}" x2="${right}" y1="${this.y(baseline)}" y2="${this.y(baseline)}"/>`;
    if (this.bare) return [axis];
    made.push(axis);
    if (xLabel) made.push(this.words(xLabel, (left + right) / 2, bottom + 2.25 * em, "pg-label", "middle"));
    this.title.textContent = yLabel; // above the picture, where it wraps
    return made;
  }

  // ---- handles -----------------------------------------------------------------------------------------------------

  /**
   * @param kind the class of its mark; `mark` its shape
   * @param label what it is; `said` its value in words; `value`, `min`, `max` in figures
   * @param place -> [x, y] in data coordinates
   * @param drag (x, y) in data coordinates -> void
   * @param nudge (right, up) in steps -> void
   */
  handle(handle) {
    const mark = MARKS[handle.mark];
    handle.node = svg("g", { role: "slider", tabindex: 0, class: `pg-handle ${handle.kind}`, "data-handle": handle.name });
    handle.node.append(svg("circle", { class: "pg-reach", r: REACH }), svg("ellipse", { class: "pg-grip", ...mark }));
    handle.node.addEventListener("pointerdown", (event) => this.grab(handle, event));
    handle.node.addEventListener("keydown", (event) => this.press(handle, event));
    this.top.append(handle.node);
    this.handles.push(handle);
    return handle;
  }

  placeHandles() {
    for (const handle of this.handles) {
      const hidden = handle.hidden?.() ?? false;
      handle.node.style.display = hidden ? "none" : "";
      if (hidden) continue;
      const [x, y] = handle.place();
      const within = Math.max(this.inner.top, Math.min(this.inner.bottom, this.y(y)));
      handle.node.setAttribute("transform", `translate(${this.x(x)} ${within})`);
      handle.node.setAttribute("aria-label", handle.label());
      handle.node.setAttribute("aria-valuetext", handle.said());
      handle.node.setAttribute("aria-valuenow", handle.value());
      if (handle.min != null) handle.node.setAttribute("aria-valuemin", handle.min);
      if (handle.max != null) handle.node.setAttribute("aria-valuemax", handle.max);
    }
  }

  grab(handle, event) {
    event.preventDefault();
    handle.node.focus();
    handle.node.setPointerCapture(event.pointerId);
    const at = (moved) => {
      const box = this.svg.getBoundingClientRect();
      return [((moved.clientX - box.left) * this.width) / box.width, ((moved.clientY - box.top) * this.height) / box.height];
    };
    const [x, y] = handle.place();
    const [startX, startY] = at(event);
    const [offX, offY] = [startX - this.x(x), startY - Math.max(this.inner.top, this.y(y))];
    const move = (moved) => {
      const [nowX, nowY] = at(moved);
      handle.drag(this.fromX(nowX - offX), this.fromY(nowY - offY));
    };
    const release = () => {
      handle.node.removeEventListener("pointermove", move);
      handle.node.removeEventListener("pointerup", release);
      handle.node.removeEventListener("pointercancel", release);
    };
    handle.node.addEventListener("pointermove", move);
    handle.node.addEventListener("pointerup", release);
    handle.node.addEventListener("pointercancel", release);
  }

  press(handle, event) {
    const way = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1],
      PageDown: [0, -10], PageUp: [0, 10], Home: [0, -1e6], End: [0, 1e6],
    }[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const size = event.shiftKey ? 10 : 1;
    handle.nudge(way[0] * size, way[1] * size);
  }
}

/** A price as a bar: what is due in any case, and what q adds to it, which may be infinite. Figures in one unit. */
export function paintPrice(chart, { base, extra, kind, text, unit, reach }) {
  const { left, right, top, bottom } = chart.inner;
  chart.domain = { x: [0, reach], y: [0, 1] };
  const made = chart.axes({ x: unit ? ticks(0, reach, 5) : [], xLabel: unit, yLabel: text });
  const [middle, end] = [chart.x(base), extra === Infinity ? right : chart.x(base + extra)];
  const rectangle = (from, to, name) =>
    `<rect class="${name}" x="${from}" y="${top}" width="${Math.max(0, to - from)}" height="${bottom - top}"/>`;
  made.push(rectangle(left, middle, "pg-base"), rectangle(middle, end, kind));
  if (extra === Infinity) made.push(chart.words("∞ →", right - 0.4 * chart.em, (top + bottom) / 2 + 0.35 * chart.em, "pg-inverse", "end"));
  chart.paint(made);
}
