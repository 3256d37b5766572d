// The worms: bars to drag, a q to choose, and what it costs to send the worms by the code of q.

import { Chart, paintPrice, ticks } from "./chart.js";
import * as maths from "./maths.js";
import { element } from "./stage.js";

const WORMS = [20, 17, 33, 63, 199, 200, 114, 82, 118, 109, 45];
const OWN = [5, 10, 20, 40, 80, 120, 160, 160, 120, 80, 40];
const DEFAULTS = { p: WORMS, own: OWN, q: "binomial", theta: 0.5, smooth: false, epsilon: 1e-3 };
const MOST = 300; // worms in one bar
const FAMILIES = { binomial: maths.binomial, blocks: maths.blocks };
const BEST = { binomial: maths.bestBinomial, blocks: maths.bestBlocks };
const GRID = Array.from({ length: 199 }, (_, k) => (k + 1) / 200);

const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);

/** What follows from the state: p and q, smoothed where that is asked for, and whether it could be done. */
export function distributions(state) {
  const raw = { p: maths.normalised(state.p), q: rawQ(state) };
  const made = { ...raw, starved: false, zeros: {} };
  for (const name of ["p", "q"]) {
    made.zeros[name] = raw[name].includes(0);
    if (!state.smooth || !made.zeros[name]) continue;
    const smoothed = maths.smooth(raw[name], state.epsilon);
    made.starved ||= smoothed === null;
    made[name] = smoothed ?? raw[name];
  }
  return made;
}

function rawQ(state) {
  if (state.q === "own") return maths.normalised(state.own);
  return state.q === "uniform" ? maths.uniform() : FAMILIES[state.q](state.theta);
}

function counts(text) {
  const read = text?.split(",").map(Number);
  const fits = read?.length === 11 && read.every((count) => count >= 0 && count <= 1000) && sumOf(read) > 0;
  return fits ? read : null;
}

const between = (text, low, high) => (text !== null && text >= low && text <= high ? Number(text) : null);

function read(params) {
  const state = {
    p: counts(params.get("p")),
    own: counts(params.get("own")),
    q: ["binomial", "blocks", "uniform", "own"].find((name) => name === params.get("q")),
    theta: between(params.get("theta"), 0, 1),
    epsilon: between(params.get("epsilon"), 1e-8, 0.05),
    smooth: params.has("smooth") ? params.get("smooth") === "1" : null,
  };
  return Object.fromEntries(Object.entries(state).filter(([, value]) => value !== null && value !== undefined));
}

const write = (state) => ({
  p: state.p.join(","),
  q: state.q,
  ...(state.q === "own" ? { own: state.own.join(",") } : {}),
  ...(state.q in FAMILIES ? { theta: state.theta } : {}),
  smooth: state.smooth ? 1 : 0,
  epsilon: state.epsilon,
});

function build(stage) {
  const left = element("div", { class: "pg-charts" });
  const right = element("div", { class: "pg-side" });
  stage.body.append(left, right);
  const parts = {
    worms: wormChart(stage, left),
    paid: paidChart(stage, left),
    prices: ["forward", "reverse"].map((direction) => {
      const shape = () => (direction === "forward" ? 2.4 : 4.4);
      const margin = { left: 0.6, top: 0.1, bottom: direction === "forward" ? 0.2 : 2.2 };
      return new Chart(stage, left, { label: stage.text("bars.prices"), shape, margin });
    }),
  };
  right.append(stage.note());
  right.append(
    stage.numberList([
      ["entropy", stage.text("bars.entropy")],
      ["cross", stage.text("bars.cross")],
      ["forward", stage.text("forward"), "forward"],
      ["reverse", stage.text("reverse"), "reverse"],
    ]),
  );
  controls(stage, right);
  parts.curve = curveChart(stage, right);
  rivals(stage, left);
  return (state) => draw(stage, state, parts);
}

// ---- the charts -----------------------------------------------------------------------------------------------------

function wormChart(stage, parent) {
  const chart = new Chart(stage, parent, {
    label: stage.text("bars.chart"),
    shape: (width) => Math.min(0.66 * width, 24),
  });
  chart.domain = { x: [-0.6, 10.6], y: [0, MOST] };
  const limited = (count) => Math.round(Math.min(MOST, Math.max(0, count)));
  WORMS.forEach((_, k) => {
    const put = (count) => {
      const p = stage.state.p.with(k, limited(count));
      if (sumOf(p) > 0) stage.set({ p });
    };
    chart.handle({
      name: `p${k}`,
      kind: "pg-handle-p",
      mark: "round",
      label: () => stage.text("bars.wormsWith", k),
      said: () => stage.text("bars.worms", stage.state.p[k]),
      value: () => stage.state.p[k],
      min: 0,
      max: MOST,
      place: () => [k, stage.state.p[k]],
      drag: (_x, y) => put(y),
      nudge: (x, y) => put(stage.state.p[k] + x + y),
    });
  });
  WORMS.forEach((_, k) => chart.handle(ownHandle(stage, k)));
  return chart;
}

/** A handle of q's own bars, which are drawn as the worms that q expects. */
function ownHandle(stage, k) {
  const expected = () => (stage.state.own[k] / sumOf(stage.state.own)) * sumOf(stage.state.p);
  const put = (worms) => {
    const others = sumOf(stage.state.own) - stage.state.own[k];
    const all = sumOf(stage.state.p);
    const wanted = Math.min(MOST, Math.max(0, worms), 0.98 * all);
    if (others > 0) stage.set({ own: stage.state.own.with(k, wanted < 0.5 ? 0 : (others * wanted) / (all - wanted)) });
  };
  return {
    name: `q${k}`,
    kind: "pg-handle-q",
    mark: "round",
    hidden: () => stage.state.q !== "own",
    label: () => stage.text("bars.qWith", k),
    said: () => stage.text("bars.worms", Math.round(expected())),
    value: () => Math.round(expected()),
    min: 0,
    max: MOST,
    place: () => [k, expected()],
    drag: (_x, y) => put(y),
    nudge: (x, y) => put(expected() + 5 * (x + y)),
  };
}

function drawWorms(stage, chart, state, { p, q }) {
  const all = sumOf(state.p);
  const shapes = chart.axes({
    x: [...WORMS.keys()],
    y: [0, 100, 200, 300],
    xLabel: stage.text("bars.teeth"),
    yLabel: stage.text("bars.count"),
  });
  p.forEach((value, k) => shapes.push(chart.bar(k, 0.36, 0, Math.min(value * all, 1.1 * MOST), "pg-p")));
  q.forEach((value, k) => {
    const height = Math.min(value * all, MOST);
    shapes.push(chart.line([[k, 0], [k, height]], "pg-q pg-thin"));
    shapes.push(chart.line([[k - 0.42, height], [k + 0.42, height]], "pg-q"));
    if (value * all > MOST) shapes.push(chart.words(`↑ ${Math.round(value * all)}`, chart.x(k) + 6, chart.y(MOST) - 5, "pg-tick"));
  });
  chart.paint(shapes);
}

function paidChart(stage, parent) {
  const chart = new Chart(stage, parent, {
    label: stage.text("paid"),
    shape: (width) => Math.min(0.42 * width, 13),
    margin: { bottom: 1.5 },
  });
  chart.domain = { x: [-0.6, 10.6], y: [-1, 1] };
  return chart;
}

/** Where each KL is paid: its parts, one direction upwards, the other downwards. */
function drawPaid(stage, chart, p, q) {
  const forward = maths.parts(p, q).map((part) => stage.inUnit(part));
  const reverse = maths.parts(q, p).map((part) => stage.inUnit(part));
  const finite = [...forward, ...reverse].filter(Number.isFinite);
  const reach = Math.max(0.05, ...finite) * 1.15;
  chart.domain.y = [-reach, reach];
  const round = ticks(0, reach, 2);
  const shapes = chart.axes({
    x: [...WORMS.keys()],
    y: [...round.slice(1).map((value) => -value), ...round],
    yText: (value) => String(Math.abs(value)),
    yLabel: stage.text("paidHere", stage.text(`units.${stage.unit}`)),
    baseline: 0,
  });
  forward.forEach((part, k) => {
    shapes.push(chart.bar(k, 0.36, 0, Math.min(part, reach), "pg-forward"));
    shapes.push(chart.bar(k, 0.36, -Math.min(reverse[k], reach), 0, "pg-reverse"));
    if (part === Infinity) shapes.push(chart.words("∞", chart.x(k), chart.y(reach) + 1.2 * chart.em, "pg-inverse", "middle"));
    if (reverse[k] === Infinity) shapes.push(chart.words("∞", chart.x(k), chart.y(-reach) - 0.4 * chart.em, "pg-inverse", "middle"));
  });
  chart.paint(shapes);
}

function curveChart(stage, parent) {
  const chart = new Chart(stage, parent, {
    label: stage.text("bars.curve"),
    shape: (width) => Math.min(0.6 * width, 15),
  });
  chart.domain = { x: [0, 1], y: [0, 1] };
  const put = (theta) => stage.set({ theta: Math.min(1, Math.max(0, theta)) });
  chart.handle({
    name: "theta",
    kind: "pg-handle-q",
    mark: "round",
    hidden: () => !(stage.state.q in FAMILIES),
    label: () => stage.text(`bars.parameter.${stage.state.q}`),
    said: () => stage.format(stage.state.theta),
    value: () => stage.state.theta,
    min: 0,
    max: 1,
    place: () => [stage.state.theta, 0],
    drag: (x) => put(Math.round(x * 1000) / 1000),
    nudge: (x, y) => put(Math.round((stage.state.theta + 0.01 * (x + y)) * 1e4) / 1e4),
  });
  return chart;
}

/** KL as the objective: both directions as functions of the family's parameter. */
function drawCurve(stage, chart, state, p, q) {
  const family = FAMILIES[state.q];
  chart.box.hidden = !family;
  if (!family) return;
  const curve = (cost) => GRID.map((theta) => [theta, stage.inUnit(cost(family(theta)))]).filter(([, y]) => y < 1e6);
  const [forward, reverse] = [curve((at) => maths.kl(p, at)), curve((at) => maths.kl(at, p))];
  const least = Math.min(...[...forward, ...reverse].map(([, y]) => y), 0.4);
  const reach = Math.max(1, 5 * least);
  chart.domain.y = [0, reach];
  const shapes = chart.axes({
    x: [0, 0.2, 0.4, 0.6, 0.8, 1],
    y: ticks(0, reach, 4),
    xLabel: stage.text(`bars.parameter.${state.q}`),
    yLabel: stage.text("bars.cost", stage.text(`units.${stage.unit}`)),
  });
  shapes.push(chart.line([[state.theta, 0], [state.theta, reach]], "pg-guide"));
  const clipped = (line) => line.filter(([, y]) => y <= 1.02 * reach);
  shapes.push(chart.line(clipped(forward), "pg-line-forward"), chart.line(clipped(reverse), "pg-line-reverse"));
  for (const [direction, cost] of [["forward", maths.kl(p, q)], ["reverse", maths.kl(q, p)]]) {
    const height = stage.inUnit(cost);
    if (height <= reach) shapes.push(chart.dot(state.theta, height, 6, `pg-dot-${direction}`));
  }
  chart.paint(shapes);
}

// ---- controls and the table -------------------------------------------------------------------------------------------

function controls(stage, parent) {
  const families = ["binomial", "blocks", "uniform", "own"].map((value) => ({ value, label: stage.text(`bars.q.${value}`) }));
  const box = element("div", { class: "pg-controls" });
  box.append(stage.choice("q", stage.text("bars.chooseQ"), families, () => stage.state.q, (q) => stage.set({ q })));
  const best = (direction) => () => {
    const { p } = distributions(stage.state);
    stage.set({ theta: BEST[stage.state.q](p, direction) });
  };
  const row = element("div", { class: "pg-row" });
  row.append(stage.button("bestForward", best("forward"), "pg-forward-edge"));
  row.append(stage.button("bestReverse", best("reverse"), "pg-reverse-edge"));
  stage.fresh.push(() => (row.hidden = !(stage.state.q in FAMILIES)));
  box.append(row, stage.check(stage.text("bars.smooth"), () => stage.state.smooth, (smooth) => stage.set({ smooth })));
  const epsilon = stage.slider("ε", {
    min: -8,
    max: -1.5,
    step: 0.25,
    get: () => Math.log10(stage.state.epsilon),
    set: (power) => stage.set({ epsilon: 10 ** power }),
    shown: () => stage.state.epsilon.toPrecision(2),
  });
  stage.fresh.push(() => (epsilon.hidden = !stage.state.smooth));
  box.append(epsilon);
  parent.append(box);
}

const RIVALS = ["uniform", "binomial", "blocks"];

function rivals(stage, parent) {
  const head = ["bars.rival", "bars.at", "bars.cross", "forward", "reverse"];
  const table = element("table", { class: "pg-table" }, element("caption", {}, stage.text("bars.rivals")));
  table.append(element("thead", {}, element("tr", {}, ...head.map((key) => element("th", { scope: "col" }, stage.text(key))))));
  const body = element("tbody");
  for (const name of RIVALS) {
    const cells = ["theta", "cross", "forward", "reverse"].map((what) => stage.place(`${name}.${what}`, "td"));
    body.append(element("tr", {}, element("th", { scope: "row" }, stage.text(`bars.q.${name}`)), ...cells));
  }
  table.append(body);
  parent.append(element("div", { class: "pg-scroll" }, table));
}

function drawRivals(stage, p) {
  for (const name of RIVALS) {
    const theta = name === "uniform" ? null : BEST[name](p, "forward");
    const q = theta === null ? maths.uniform() : FAMILIES[name](theta);
    if (theta === null) stage.show(`${name}.theta`, "", "");
    else stage.show(`${name}.theta`, theta);
    const figures = { cross: maths.crossEntropy(p, q), forward: maths.kl(p, q), reverse: maths.kl(q, p) };
    for (const [what, nats] of Object.entries(figures)) {
      stage.show(`${name}.${what}`, stage.inUnit(nats));
    }
  }
}

/** The two prices below each other, on one scale. */
function drawPrices(stage, charts, { entropy, entropyOfQ, forward, reverse }) {
  const rows = [
    { key: "bars.sum", base: entropy, extra: forward, kind: "pg-forward" },
    { key: "bars.sumReverse", base: entropyOfQ, extra: reverse, kind: "pg-reverse" },
  ];
  const finite = rows.map(({ base, extra }) => (extra === Infinity ? 1.6 * base : base + extra));
  const reach = 1.02 * Math.max(stage.inUnit(Math.max(...finite)), 1);
  rows.forEach(({ key, base, extra, kind }, k) => {
    paintPrice(charts[k], {
      base: stage.inUnit(base),
      extra: stage.inUnit(extra),
      kind,
      text: stage.text(key, stage.price(base), stage.price(extra), stage.price(base + extra)),
      unit: k ? stage.text("bars.aWorm", stage.text(`units.${stage.unit}`)) : "",
      reach,
    });
  });
}

// ---- everything, once the state has changed ------------------------------------------------------------------------------

function draw(stage, state, parts) {
  const made = distributions(state);
  const { p, q } = made;
  const figures = {
    entropy: maths.entropy(p),
    entropyOfQ: maths.entropy(q),
    cross: maths.crossEntropy(p, q),
    forward: maths.kl(p, q),
    reverse: maths.kl(q, p),
  };
  for (const [name, nats] of Object.entries(figures)) stage.showPrice(name, nats);
  stage.show("theta", state.theta);
  drawWorms(stage, parts.worms, state, made);
  drawPaid(stage, parts.paid, p, q);
  drawCurve(stage, parts.curve, state, p, q);
  drawPrices(stage, parts.prices, figures);
  drawRivals(stage, p);
  stage.root.querySelector(".pg-note").textContent = reading(stage, state, made, figures);
}

/** What can be read off, in a sentence or two. */
function reading(stage, state, { p, q, starved, zeros }, figures) {
  if (starved) return stage.text("bars.starved");
  const without = (pmf) => pmf.flatMap((value, k) => (value === 0 ? [k] : []));
  if (figures.forward === Infinity) return stage.text("bars.noWord", without(q).find((k) => p[k] > 0));
  if (figures.reverse === Infinity) return stage.text("bars.neverSeen", without(p).find((k) => q[k] > 0));
  const all = sumOf(state.p);
  const said = stage.text("bars.reading", stage.price(figures.entropy), stage.price(figures.cross), all, stage.price(all * figures.forward, 0));
  const smoothed = state.smooth && (zeros.p || zeros.q);
  return smoothed ? `${said} ${stage.text("bars.smoothed", state.epsilon.toPrecision(2))}` : said;
}

function thumbnail(stage, chart) {
  chart.domain = { x: [-0.6, 10.6], y: [0, MOST] };
  drawWorms(stage, chart, DEFAULTS, distributions(DEFAULTS));
}

export const bars = {
  name: "bars",
  unit: "bits",
  defaults: DEFAULTS,
  read,
  write,
  build,
  thumbnail,
};
