// A posterior of up to three humps and a normal q, to drag or to let run downhill on either direction of KL.

import { Chart, paintPrice, ticks } from "./chart.js";
import * as maths from "./maths.js";
import { element, still } from "./stage.js";

const REACH = 6; // the places of humps and of q lie within it
const SDS = { hump: [0.4, 2.5], q: [0.2, 5] };
const WEIGHTS = [0.01, 0.33]; // three humps of evidence at most one
const THREE = [
  { mean: -3, sd: 0.7, weight: 0.12 },
  { mean: 3, sd: 1, weight: 0.18 },
  { mean: 0, sd: 0.5, weight: 0.06 },
];
const SEEDS = [-5, -3.5, -2, -0.5, 0.5, 2, 3.5, 5].flatMap((mean) => [{ mean, sd: 0.5 }, { mean, sd: 2 }]);
const DEFAULTS = {
  humps: THREE.slice(0, 2),
  q: { mean: 0.5, sd: 1.2 },
  direction: "reverse",
  way: [], // of q downhill
  seeded: false, // whether descents from many starts are shown
};
const GRID = Array.from({ length: 601 }, (_, k) => -8 + (16 * k) / 600);
const MAP = { columns: 61, rows: 41 };

const clip = (value, [low, high]) => Math.min(high, Math.max(low, value));
const rounded = (value) => Math.round(value * 1000) / 1000;
const DIRECTIONS = ["reverse", "forward"];

const inRange = (hump) =>
  Math.abs(hump.mean) <= REACH && hump.sd === clip(hump.sd, SDS.hump) && hump.weight === clip(hump.weight, WEIGHTS);

function read(params) {
  const state = {};
  const humps = params.get("humps")?.split(",").map((text) => {
    const [mean, sd, weight] = text.split(":").map(Number);
    return { mean, sd, weight };
  });
  if (humps && humps.length <= 3 && humps.every(inRange)) state.humps = humps;
  const [mean, sd] = params.get("q")?.split(":").map(Number) ?? [];
  if (Math.abs(mean) <= 2 * REACH && sd >= 0.05 && sd <= 20) state.q = { mean, sd };
  if (DIRECTIONS.includes(params.get("direction"))) state.direction = params.get("direction");
  if (params.get("run") === "1") {
    const from = { ...DEFAULTS, ...state };
    state.way = maths.descend(from.q, from.humps, from.direction);
    state.q = state.way.at(-1);
  }
  if (params.get("seeds") === "1") state.seeded = true;
  return state;
}

const write = (state) => ({
  humps: state.humps.map((hump) => `${hump.mean}:${hump.sd}:${hump.weight}`).join(","),
  q: `${state.q.mean}:${state.q.sd}`,
  direction: state.direction,
  ...(state.seeded ? { seeds: 1 } : {}),
});

function build(stage) {
  const left = element("div", { class: "pg-charts" });
  const right = element("div", { class: "pg-side" });
  stage.body.append(left, right);
  const parts = {
    density: densityChart(stage, left),
    paid: new Chart(stage, left, {
      label: stage.text("paid"),
      shape: (width) => Math.min(0.4 * width, 11),
      margin: { bottom: 1.5 },
    }),
    prices: new Chart(stage, left, { label: stage.text("humps.prices"), shape: () => 4.8, margin: { left: 0.6, top: 0.1, bottom: 2.2 } }),
  };
  right.append(stage.note());
  right.append(
    stage.numberList([
      ["reverse", stage.text("reverse"), "reverse"],
      ["forward", stage.text("forward"), "forward"],
      ["elbo", stage.text("elbo")],
      ["logEvidence", stage.text("logEvidence")],
      ["mean", stage.text("humps.mean"), "q"],
      ["sd", stage.text("humps.sd"), "q"],
    ]),
  );
  controls(stage, right);
  parts.map = mapChart(stage, right);
  parts.minima = element("ol", { class: "pg-minima" });
  right.append(parts.minima);
  return (state) => draw(stage, state, parts);
}

// ---- the densities ----------------------------------------------------------------------------------------------------

/** Change a hump, or q, which ends a run and what it found. */
function moveHump(stage, k, changes) {
  const hump = { ...stage.state.humps[k], ...changes };
  hump.mean = rounded(clip(hump.mean, [-REACH, REACH]));
  hump.sd = rounded(clip(hump.sd, SDS.hump));
  hump.weight = rounded(clip(hump.weight, WEIGHTS));
  stop(stage);
  stage.set({ humps: stage.state.humps.with(k, hump), way: [], seeded: false });
}

function moveQ(stage, { mean = stage.state.q.mean, sd = stage.state.q.sd }) {
  stop(stage);
  stage.set({ q: { mean: rounded(clip(mean, [-REACH, REACH])), sd: rounded(clip(sd, SDS.q)) }, way: [] });
}

const peak = ({ sd, weight = 1 }) => weight / (sd * Math.sqrt(2 * Math.PI));

function densityChart(stage, parent) {
  const chart = new Chart(stage, parent, {
    label: stage.text("humps.chart"),
    shape: (width) => Math.min(0.56 * width, 19),
  });
  chart.domain = { x: [-8, 8], y: [0, 0.14] };
  THREE.forEach((_, k) => {
    chart.handle(humpHandle(stage, k));
    chart.handle(humpWidth(stage, k));
  });
  chart.handle(qHandle(stage));
  chart.handle(qWidth(stage));
  return chart;
}

function humpHandle(stage, k) {
  const hump = () => stage.state.humps[k];
  return {
    name: `hump${k}`,
    kind: "pg-handle-p",
    mark: "round",
    hidden: () => !hump(),
    label: () => stage.text("humps.hump", k + 1),
    said: () => stage.text("humps.humpAt", stage.format(hump().mean, 2), stage.format(hump().weight, 2)),
    value: () => hump().mean,
    min: -REACH,
    max: REACH,
    place: () => [hump().mean, peak(hump())],
    drag: (x, y) => moveHump(stage, k, { mean: x, weight: (hump().weight * y) / peak(hump()) }),
    nudge: (x, y) => moveHump(stage, k, { mean: hump().mean + 0.1 * x, weight: hump().weight + 0.01 * y }),
  };
}

function humpWidth(stage, k) {
  const hump = () => stage.state.humps[k];
  return {
    name: `hump${k}sd`,
    kind: "pg-handle-p",
    mark: "wide",
    hidden: () => !hump(),
    label: () => stage.text("humps.humpSd", k + 1),
    said: () => stage.format(hump().sd, 2),
    value: () => hump().sd,
    min: SDS.hump[0],
    max: SDS.hump[1],
    place: () => [hump().mean + hump().sd, peak(hump()) * Math.exp(-0.5)],
    drag: (x) => moveHump(stage, k, { sd: x - hump().mean }),
    nudge: (x, y) => moveHump(stage, k, { sd: hump().sd + 0.05 * (x + y) }),
  };
}

function qHandle(stage) {
  const q = () => stage.state.q;
  return {
    name: "q",
    kind: "pg-handle-q",
    mark: "round",
    label: () => stage.text("humps.mean"),
    said: () => stage.format(q().mean, 2),
    value: () => q().mean,
    min: -REACH,
    max: REACH,
    place: () => [q().mean, peak(q()) * maths.evidence(stage.state.humps)],
    drag: (x) => moveQ(stage, { mean: x }),
    nudge: (x, y) => moveQ(stage, { mean: q().mean + 0.1 * x, sd: q().sd * 1.05 ** -y }),
  };
}

function qWidth(stage) {
  const q = () => stage.state.q;
  return {
    name: "qsd",
    kind: "pg-handle-q",
    mark: "wide",
    label: () => stage.text("humps.sd"),
    said: () => stage.format(q().sd, 2),
    value: () => q().sd,
    min: SDS.q[0],
    max: SDS.q[1],
    place: () => [q().mean + q().sd, peak(q()) * Math.exp(-0.5) * maths.evidence(stage.state.humps)],
    drag: (x) => moveQ(stage, { sd: x - q().mean }),
    nudge: (x, y) => moveQ(stage, { sd: q().sd + 0.05 * (x + y) }),
  };
}

function drawDensity(stage, chart, { humps, q }) {
  const sum = maths.evidence(humps);
  const log = maths.jointOf(humps);
  const joint = GRID.map((z) => [z, Math.exp(log(z))]);
  const scaled = GRID.map((z) => [z, sum * Math.exp(maths.logNormal(q, z))]);
  const highest = Math.max(...joint.map(([, y]) => y), ...humps.map(peak));
  const top = 1.15 * Math.max(highest, Math.min(peak(q) * sum, 2 * highest)); // a narrow q is cut off
  chart.domain.y = [0, top];
  const shapes = chart.axes({
    x: ticks(-8, 8, 8),
    y: ticks(0, top, 4),
    xLabel: "z",
    yLabel: stage.text("humps.density"),
  });
  shapes.push(chart.area(joint, "pg-p"), chart.line(joint, "pg-line-p"));
  if (humps.length > 1) {
    for (const hump of humps) {
      const alone = GRID.map((z) => [z, hump.weight * Math.exp(maths.logNormal(hump, z))]);
      shapes.push(chart.line(alone.filter(([, y]) => y > 1e-4 * highest), "pg-guide"));
    }
  }
  shapes.push(chart.area(scaled, "pg-q-area"), chart.line(scaled, "pg-q"));
  chart.paint(shapes);
}

/** Where each KL is paid: areas, one direction upwards, the other downwards. */
function drawPaid(stage, chart, { humps, q }) {
  const [log, logEvidence] = [maths.jointOf(humps), Math.log(maths.evidence(humps))];
  const densities = GRID.map((z) => [z, Math.exp(log(z) - logEvidence), Math.exp(maths.logNormal(q, z))]);
  // densities that underflow to zero are where the other one's part is its own density, or beyond the picture
  const finite = (part) => (Number.isFinite(part) ? part : 1e3);
  const forward = densities.map(([z, p, at]) => [z, stage.inUnit(finite(maths.part(p, at)))]);
  const reverse = densities.map(([z, p, at]) => [z, stage.inUnit(finite(maths.part(at, p)))]);
  const reach = Math.max(0.1, Math.min(4, Math.max(...forward.map(([, y]) => y), ...reverse.map(([, y]) => y)))) * 1.1;
  chart.domain = { x: [-8, 8], y: [-reach, reach] };
  const round = ticks(0, reach, 2);
  const shapes = chart.axes({
    x: ticks(-8, 8, 8),
    y: [...round.slice(1).map((value) => -value), ...round],
    yText: (value) => String(Math.abs(value)),
    yLabel: stage.text("paidAreas", stage.text(`units.${stage.unit}`)),
    baseline: 0,
  });
  const within = (line, sign) => line.map(([z, y]) => [z, sign * Math.min(y, reach)]);
  shapes.push(chart.area(within(forward, 1), "pg-forward"), chart.area(within(reverse, -1), "pg-reverse"));
  chart.paint(shapes);
}

// ---- the map: KL for every mean and sd of q -------------------------------------------------------------------------------

const logSd = SDS.q.map(Math.log);
const levels = [0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2.5, 4, 8, 16]; // nats above the least, where the shading changes

function mapChart(stage, parent) {
  const chart = new Chart(stage, parent, {
    label: stage.text("humps.map"),
    shape: (width) => Math.min(0.75 * width, 19),
  });
  chart.domain = { x: [-REACH, REACH], y: logSd };
  chart.canvas = element("canvas", { class: "pg-canvas", "aria-hidden": "true" });
  chart.plot.prepend(chart.canvas);
  chart.handle({
    ...qHandle(stage),
    name: "mapq",
    label: () => stage.text("humps.onMap"),
    said: () => stage.text("humps.qAt", stage.format(stage.state.q.mean, 2), stage.format(stage.state.q.sd, 2)),
    place: () => [clip(stage.state.q.mean, [-REACH, REACH]), clip(Math.log(stage.state.q.sd), logSd)],
    drag: (x, y) => moveQ(stage, { mean: x, sd: Math.exp(y) }),
    nudge: (x, y) => moveQ(stage, { mean: stage.state.q.mean + 0.1 * x, sd: stage.state.q.sd * 1.05 ** y }),
  });
  return chart;
}

const MEANS = Array.from({ length: MAP.columns }, (_, i) => -REACH + (2 * REACH * i) / (MAP.columns - 1));
const LOG_SDS = Array.from({ length: MAP.rows }, (_, j) => logSd[0] + ((logSd[1] - logSd[0]) * j) / (MAP.rows - 1));

/** Shade a canvas by bands of KL: the darker, the nearer. */
function shade(stage, chart, state) {
  const key = JSON.stringify([state.humps, state.direction, chart.width, document.body.dataset.mdColorScheme, chart.em]);
  if (chart.shaded === key) return;
  chart.shaded = key;
  const { left, right, top, bottom } = chart.inner;
  const [width, height] = [Math.round(right - left), Math.round(bottom - top)];
  Object.assign(chart.canvas, { width, height });
  Object.assign(chart.canvas.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
  const costs = maths.klMap(MEANS, LOG_SDS.map(Math.exp), state.humps, state.direction);
  const least = Math.min(...costs.flat());
  const colour = getComputedStyle(stage.root).getPropertyValue(`--pg-${state.direction}-rgb`).split(",").map(Number);
  const context = chart.canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    const row = ((height - 1 - y) / (height - 1)) * (MAP.rows - 1);
    for (let x = 0; x < width; x++) {
      const cost = interpolated(costs, (x / (width - 1)) * (MAP.columns - 1), row);
      const band = levels.findIndex((level) => cost - least < level);
      const alpha = band < 0 ? 0 : 0.9 * (1 - band / levels.length) ** 1.3;
      image.data.set([...colour, Math.round(255 * alpha)], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
}

function interpolated(grid, column, row) {
  const [i, j] = [Math.min(Math.floor(column), MAP.columns - 2), Math.min(Math.floor(row), MAP.rows - 2)];
  const [a, b] = [column - i, row - j];
  return (1 - b) * ((1 - a) * grid[j][i] + a * grid[j][i + 1]) + b * ((1 - a) * grid[j + 1][i] + a * grid[j + 1][i + 1]);
}

function drawMap(stage, chart, state, found) {
  shade(stage, chart, state);
  const shapes = chart.axes({
    x: ticks(-REACH, REACH, 6),
    y: [0.2, 0.5, 1, 2, 5].map(Math.log),
    yText: (value) => String(Math.round(Math.exp(value) * 10) / 10),
    xLabel: stage.text("humps.mean"),
    yLabel: stage.text("humps.mapTitle", stage.text(state.direction)),
  });
  const point = (q) => [clip(q.mean, [-REACH, REACH]), clip(Math.log(q.sd), logSd)];
  found.forEach((minimum, k) => {
    for (const index of minimum.starts) {
      shapes.push(chart.line([point(SEEDS[index]), point(minimum)], "pg-guide"));
      shapes.push(chart.dot(...point(SEEDS[index]), 4, "pg-seed"));
    }
    shapes.push(chart.dot(...point(minimum), 10, "pg-minimum"));
    shapes.push(chart.words(k + 1, chart.x(point(minimum)[0]), chart.y(point(minimum)[1]) + 0.34 * chart.em, "pg-inverse", "middle"));
  });
  if (state.way.length) {
    shapes.push(chart.line(state.way.map(point), "pg-way"));
    shapes.push(chart.dot(...point(state.way[0]), 5, "pg-seed"));
  }
  chart.paint(shapes);
}

// ---- downhill -------------------------------------------------------------------------------------------------------------

function stop(stage) {
  cancelAnimationFrame(stage.running);
  stage.running = null;
}

function run(stage, direction) {
  stop(stage);
  stage.set({ direction, way: [stage.state.q], ...(direction === stage.state.direction ? {} : { seeded: false }) });
  if (still()) {
    const way = maths.descend(stage.state.q, stage.state.humps, direction);
    return stage.set({ q: way.at(-1), way });
  }
  const step = () => {
    const q = maths.stepDown(stage.state.q, stage.state.humps, direction, 0.15);
    if (q === null || stage.state.way.length > 900) return stop(stage);
    stage.set({ q, way: [...stage.state.way, q] });
    stage.running = requestAnimationFrame(step);
  };
  stage.running = requestAnimationFrame(step);
}

function controls(stage, parent) {
  const box = element("div", { class: "pg-controls" });
  const row = element("div", { class: "pg-row" });
  row.append(stage.button("runReverse", () => run(stage, "reverse"), "pg-reverse-edge"));
  row.append(stage.button("runForward", () => run(stage, "forward"), "pg-forward-edge"));
  row.append(stage.button("stop", () => stop(stage)));
  row.append(stage.button("seeds", () => stage.set({ seeded: !stage.state.seeded })));
  const counts = [1, 2, 3].map((value) => ({ value: String(value), label: String(value) }));
  const setCount = (count) => {
    stop(stage);
    const { humps } = stage.state;
    stage.set({ humps: [...humps, ...THREE.slice(humps.length)].slice(0, Number(count)), way: [], seeded: false });
  };
  const directions = DIRECTIONS.map((value) => ({ value, label: stage.text(value) }));
  const setDirection = (direction) => {
    stop(stage);
    stage.set({ direction, way: [] });
  };
  box.append(
    row,
    stage.choice("count", stage.text("humps.count"), counts, () => String(stage.state.humps.length), setCount),
    stage.choice("direction", stage.text("humps.direction"), directions, () => stage.state.direction, setDirection),
  );
  parent.append(box);
}

// ---- everything, once the state has changed -----------------------------------------------------------------------------------

function minimaOf(stage, state) {
  if (!state.seeded) return [];
  const key = JSON.stringify([state.humps, state.direction]);
  if (stage.minimaKey !== key) {
    stage.minimaKey = key;
    stage.minima = maths.minima(SEEDS, state.humps, state.direction);
  }
  return stage.minima;
}

function draw(stage, state, parts) {
  const logEvidence = Math.log(maths.evidence(state.humps));
  const reverse = maths.reverseKl(state.q, state.humps);
  const figures = { reverse, forward: maths.forwardKl(state.q, state.humps), elbo: logEvidence - reverse, logEvidence };
  for (const [name, nats] of Object.entries(figures)) stage.showPrice(name, nats);
  stage.show("mean", state.q.mean);
  stage.show("sd", state.q.sd);
  drawDensity(stage, parts.density, state);
  drawPaid(stage, parts.paid, state);
  paintPrice(parts.prices, {
    base: stage.inUnit(-logEvidence),
    extra: stage.inUnit(reverse),
    kind: "pg-reverse",
    text: stage.text("humps.sum", stage.price(-logEvidence), stage.price(reverse), stage.price(reverse - logEvidence)),
    unit: stage.text(`units.${stage.unit}`),
    reach: 1.02 * stage.inUnit(Math.max(1, reverse - logEvidence)),
  });
  const found = minimaOf(stage, state);
  drawMap(stage, parts.map, state, found);
  listMinima(stage, parts.minima, found);
  stage.root.querySelector(".pg-note").textContent = reading(stage, state, figures, found);
}

function listMinima(stage, list, found) {
  list.replaceChildren(
    ...found.map((minimum, k) => {
      const what = ["cost", "mean", "sd"].map((name) => stage.place(`minimum${k}.${name}`));
      const share = stage.text("humps.fromSeeds", minimum.starts.length, SEEDS.length);
      return element("li", {}, what[0], `: ${stage.text("humps.mean")} `, what[1], `, ${stage.text("humps.sd")} `, what[2], ` (${share})`);
    }),
  );
  found.forEach((minimum, k) => {
    stage.showPrice(`minimum${k}.cost`, minimum.cost);
    stage.show(`minimum${k}.mean`, minimum.mean);
    stage.show(`minimum${k}.sd`, minimum.sd);
  });
}

function reading(stage, state, figures, found) {
  if (found.length > 1) return stage.text("humps.manyMinima", found.length);
  if (found.length === 1) return stage.text("humps.oneMinimum");
  const best = Math.abs(maths.slopes(state.q, state.humps, state.direction)[0]) < 1e-3 && state.way.length > 1;
  if (best && !stage.running) return stage.text(`humps.arrived.${state.direction}`, stage.price(figures[state.direction]));
  return stage.text("humps.reading", stage.price(figures.elbo), stage.price(figures.logEvidence), stage.price(figures.reverse));
}

const thumbnail = (stage, chart) => {
  chart.domain.x = [-8, 8];
  drawDensity(stage, chart, { ...DEFAULTS, q: { mean: 0.6, sd: 2 } });
};

export const humps = { name: "humps", unit: "nats", defaults: DEFAULTS, read, write, build, thumbnail };
