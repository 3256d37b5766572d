// Two correlated parameters and a q that takes them for independent: both directions in closed form.

import { Chart } from "./chart.js";
import * as maths from "./maths.js";
import { element, still } from "./stage.js";

const REACH = 3.2;
const RADII = [0.5, 0.9].map((share) => Math.sqrt(-2 * Math.log(1 - share))); // of a standard normal's regions
const INTERVAL = 1.6448536269514722;
const RANGES = { mean: [-3, 3], sd: [0.05, 2], rho: [-0.99, 0.99], scale: [0.4, 1.3] };
const DEFAULTS = { rho: 0.9, scale: [1, 1], q: { mean: [0.8, -0.8], sd: [0.7, 0.7] }, way: [] };
const TURN = Array.from({ length: 121 }, (_, k) => (2 * Math.PI * k) / 120);
const BREATH = 350; // ms between two updates

const clip = (value, [low, high]) => Math.min(high, Math.max(low, value));
const rounded = (value) => Math.round(value * 1000) / 1000;
const pOf = (state) => ({ sd: state.scale, rho: state.rho });

function pair(text, [low, high]) {
  const values = text?.split(",").map(Number);
  return values?.length === 2 && values.every((value) => value >= low && value <= high) ? values : null;
}

function read(params) {
  const state = {};
  const rho = Number(params.get("rho") ?? NaN);
  if (rho === clip(rho, RANGES.rho)) state.rho = rho;
  const scale = pair(params.get("scale"), RANGES.scale);
  if (scale) state.scale = scale;
  const [mean, sd] = [pair(params.get("mean"), [-9, 9]), pair(params.get("sd"), [0.001, 9])];
  if (mean && sd) state.q = { mean, sd };
  return state;
}

const write = (state) => ({
  rho: state.rho,
  scale: state.scale.join(","),
  mean: state.q.mean.join(","),
  sd: state.q.sd.join(","),
});

function build(stage) {
  const left = element("div", { class: "pg-charts" });
  const right = element("div", { class: "pg-side" });
  stage.body.append(left, right);
  const chart = planeChart(stage, left);
  right.append(stage.note());
  right.append(
    stage.numberList([
      ["reverse", stage.text("reverse"), "reverse"],
      ["forward", stage.text("forward"), "forward"],
      ["sd0", stage.text("ellipse.sd", 1), "q"],
      ["sd1", stage.text("ellipse.sd", 2), "q"],
      ["coverage0", stage.text("ellipse.coverage", 1)],
      ["coverage1", stage.text("ellipse.coverage", 2)],
    ]),
  );
  controls(stage, right);
  right.append(bestTable(stage));
  return (state) => draw(stage, state, chart);
}

// ---- the plane ----------------------------------------------------------------------------------------------------------

function moveQ(stage, index, { mean, sd }) {
  stop(stage);
  const q = structuredClone(stage.state.q);
  if (mean !== undefined) q.mean[index] = rounded(clip(mean, RANGES.mean));
  if (sd !== undefined) q.sd[index] = rounded(clip(sd, RANGES.sd));
  stage.set({ q, way: [] });
}

function planeChart(stage, parent) {
  const chart = new Chart(stage, parent, {
    label: stage.text("ellipse.chart"),
    shape: (width) => Math.min(width, 36),
    margin: { right: 2.2, top: 2.2 },
    projected: 0.8,
  });
  chart.handle(centreHandle(stage));
  chart.handle(widthHandle(stage, 0));
  chart.handle(widthHandle(stage, 1));
  return chart;
}

function centreHandle(stage) {
  const q = () => stage.state.q;
  const put = (x, y) => {
    stop(stage);
    stage.set({ q: { ...q(), mean: [x, y].map((value) => rounded(clip(value, RANGES.mean))) }, way: [] });
  };
  return {
    name: "mean",
    kind: "pg-handle-q",
    mark: "round",
    label: () => stage.text("ellipse.mean"),
    said: () => q().mean.map((value) => stage.format(value, 2)).join(", "),
    value: () => q().mean[0],
    min: RANGES.mean[0],
    max: RANGES.mean[1],
    place: () => q().mean,
    drag: put,
    nudge: (x, y) => put(q().mean[0] + 0.05 * x, q().mean[1] + 0.05 * y),
  };
}

function widthHandle(stage, index) {
  const q = () => stage.state.q;
  const along = (place) => place[index];
  return {
    name: `sd${index}`,
    kind: "pg-handle-q",
    mark: index ? "tall" : "wide",
    label: () => stage.text("ellipse.sd", index + 1),
    said: () => stage.format(q().sd[index]),
    value: () => q().sd[index],
    min: RANGES.sd[0],
    max: RANGES.sd[1],
    place: () => q().mean.map((mean, k) => (k === index ? Math.min(mean + RADII[1] * q().sd[k], REACH) : mean)),
    drag: (x, y) => moveQ(stage, index, { sd: (along([x, y]) - q().mean[index]) / RADII[1] }),
    nudge: (x, y) => moveQ(stage, index, { sd: q().sd[index] + 0.02 * (x + y) }),
  };
}

/** The outline of a region of a normal around a centre, whose factor is [[a, 0], [b, c]]. */
const outline = ([x, y], [a, b, c], radius) =>
  TURN.map((t) => [x + radius * a * Math.cos(t), y + radius * (b * Math.cos(t) + c * Math.sin(t))]);

function drawPlane(stage, chart, state) {
  const { inner } = chart;
  // one unit is as long upwards as it is across
  const perUnit = Math.min(inner.right - inner.left, inner.bottom - inner.top) / (2 * (chart.bare ? 2.3 : REACH));
  const reach = [(inner.right - inner.left) / perUnit / 2, (inner.bottom - inner.top) / perUnit / 2];
  chart.domain = { x: [-reach[0], reach[0]], y: [-reach[1], reach[1]] };
  const shapes = chart.axes({
    x: [-3, -2, -1, 0, 1, 2, 3],
    y: [-3, -2, -1, 0, 1, 2, 3],
    xLabel: stage.text("ellipse.first"),
    yLabel: stage.text("ellipse.second"),
  });
  const [s, t] = state.scale;
  const factor = [s, state.rho * t, t * Math.sqrt(1 - state.rho ** 2)];
  shapes.push(chart.area(outline([0, 0], factor, RADII[1]), "pg-p-faint", 0), chart.area(outline([0, 0], factor, RADII[0]), "pg-p", 0));
  shapes.push(chart.line(outline([0, 0], factor, RADII[1]), "pg-line-p"));
  const q = [state.q.sd[0], 0, state.q.sd[1]];
  shapes.push(chart.line(outline(state.q.mean, q, RADII[1]), "pg-q"), chart.line(outline(state.q.mean, q, RADII[0]), "pg-q"));
  if (state.way.length) shapes.push(chart.line(state.way, "pg-way"), ...state.way.map((at) => chart.dot(...at, 3.5, "pg-seed")));
  if (!chart.bare) shapes.push(intervals(stage, chart, state));
  chart.paint(shapes);
}

/** The 90% intervals of p and of q for each parameter alone, at the edges of the plane. */
function intervals(stage, chart, state) {
  const { right, top } = chart.inner;
  const em = chart.em;
  const made = [];
  const ends = (mean, sd) => [mean - INTERVAL * sd, mean + INTERVAL * sd];
  for (const [kind, away, of] of [["pg-line-p pg-thick", 1.3, (k) => ends(0, state.scale[k])], ["pg-q", 0.7, (k) => ends(state.q.mean[k], state.q.sd[k])]]) {
    const [x, y] = [of(0).map((value) => chart.x(value)), of(1).map((value) => chart.y(value))];
    made.push(`<path class="${kind}" d="M${x[0]} ${top - away * em}L${x[1]} ${top - away * em}"/>`);
    made.push(`<path class="${kind}" d="M${right + away * em} ${y[0]}L${right + away * em} ${y[1]}"/>`);
  }
  return made;
}

// ---- controls -----------------------------------------------------------------------------------------------------------------

function stop(stage) {
  clearTimeout(stage.running);
  stage.running = null;
}

/** Coordinate ascent: one parameter after the other gets the best normal given the other one. */
function ascend(stage, most) {
  stop(stage);
  let turn = stage.state.way.length ? stage.state.way.length - 1 : 0;
  const step = () => {
    const { state } = stage;
    const q = maths.updateCoordinate(pOf(state), state.q, turn % 2);
    const moved = Math.hypot(q.mean[0] - state.q.mean[0], q.mean[1] - state.q.mean[1], q.sd[0] - state.q.sd[0], q.sd[1] - state.q.sd[1]);
    stage.set({ q, way: [...(state.way.length ? state.way : [state.q.mean]), q.mean] });
    turn += 1;
    most -= 1;
    return most > 0 && (moved > 1e-4 || turn < 4);
  };
  if (still()) {
    while (step());
    return;
  }
  const go = () => {
    if (step()) stage.running = setTimeout(go, BREATH);
    else stop(stage);
  };
  go();
}

function controls(stage, parent) {
  const box = element("div", { class: "pg-controls" });
  const best = (direction) => () => {
    stop(stage);
    stage.set({ q: maths.bestMeanField(pOf(stage.state), direction), way: [] });
  };
  const row = element("div", { class: "pg-row" });
  row.append(
    stage.button("bestReverse", best("reverse"), "pg-reverse-edge"),
    stage.button("bestForward", best("forward"), "pg-forward-edge"),
    stage.button("ellipse.step", () => ascend(stage, 1)),
    stage.button("ellipse.ascend", () => ascend(stage, 60)),
  );
  box.append(row);
  box.append(
    stage.slider(stage.text("ellipse.rho"), {
      min: -0.99,
      max: 0.99,
      step: 0.01,
      get: () => stage.state.rho,
      set: (rho) => stage.set({ rho, way: [] }),
      shown: (value) => stage.format(value, 2),
    }),
  );
  for (const k of [0, 1]) {
    box.append(
      stage.slider(stage.text("ellipse.scale", k + 1), {
        min: RANGES.scale[0],
        max: RANGES.scale[1],
        step: 0.05,
        get: () => stage.state.scale[k],
        set: (scale) => stage.set({ scale: stage.state.scale.with(k, scale), way: [] }),
        shown: (value) => stage.format(value, 2),
      }),
    );
  }
  parent.append(box);
}

function bestTable(stage) {
  const head = ["ellipse.best", "ellipse.sd1", "ellipse.sd2", "reverse", "forward"];
  const table = element("table", { class: "pg-table" }, element("caption", {}, stage.text("ellipse.bestTitle")));
  table.append(element("thead", {}, element("tr", {}, ...head.map((key) => element("th", { scope: "col" }, stage.text(key))))));
  const body = element("tbody");
  for (const direction of ["reverse", "forward"]) {
    const cells = ["sd0", "sd1", "byReverse", "byForward"].map((what) => stage.place(`best.${direction}.${what}`, "td"));
    body.append(element("tr", {}, element("th", { scope: "row" }, stage.text(direction)), ...cells));
  }
  table.append(body);
  return element("div", { class: "pg-scroll" }, table);
}

// ---- everything, once the state has changed --------------------------------------------------------------------------------------

function draw(stage, state, chart) {
  const p = pOf(state);
  const kls = maths.meanFieldKls(p, state.q);
  stage.showPrice("reverse", kls.reverse);
  stage.showPrice("forward", kls.forward);
  for (const k of [0, 1]) {
    stage.show(`sd${k}`, state.q.sd[k]);
    const share = maths.coverage(p, state.q, k);
    stage.show(`coverage${k}`, share, `${(100 * share).toFixed(1)} %`);
  }
  for (const direction of ["reverse", "forward"]) {
    const best = maths.bestMeanField(p, direction);
    const both = maths.meanFieldKls(p, best);
    best.sd.forEach((sd, k) => stage.show(`best.${direction}.sd${k}`, sd));
    stage.showPrice(`best.${direction}.byReverse`, both.reverse);
    stage.showPrice(`best.${direction}.byForward`, both.forward);
  }
  drawPlane(stage, chart, state);
  stage.root.querySelector(".pg-note").textContent = reading(stage, state, kls);
}

function reading(stage, state, kls) {
  if (state.way.length > 1) return stage.text("ellipse.onTheWay", state.way.length - 1, stage.price(kls.reverse));
  const p = pOf(state);
  for (const direction of ["reverse", "forward"]) {
    const best = maths.bestMeanField(p, direction);
    const off = Math.max(...best.sd.map((sd, k) => Math.abs(sd - state.q.sd[k]) + Math.abs(state.q.mean[k])));
    if (off < 1e-6) {
      const share = `${(100 * maths.coverage(p, best, 0)).toFixed(0)} %`;
      return stage.text(`ellipse.atBest.${direction}`, stage.price(kls[direction]), share, stage.price(kls.forward));
    }
  }
  return stage.text("ellipse.reading", stage.price(kls.reverse), stage.price(kls.forward));
}

const thumbnail = (stage, chart) => {
  const q = maths.bestMeanField(pOf(DEFAULTS), "reverse");
  drawPlane(stage, chart, { ...DEFAULTS, q });
};

export const ellipse = { name: "ellipse", unit: "nats", defaults: DEFAULTS, read, write, build, thumbnail };
