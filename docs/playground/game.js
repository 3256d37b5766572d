// A game: q was drawn blind. How far is it from the posterior? And what do the diagnostics say?

import { Chart, ticks } from "./chart.js";
import * as maths from "./maths.js";
import { element } from "./stage.js";

const DEFAULTS = { seed: 1, round: 0, guess: 0.3, shown: false, history: [] };
const GUESSES = [-3, 1]; // powers of ten, of nats
const SEEN = 60; // draws that are drawn; the figures take all of them
const RELIABLE = 0.7; // of k-hat
const FAR = 0.05; // nats, from which q counts as wrong here
const REACH = 8;

const whole = (text, most) => (text !== null && Number.isInteger(Number(text)) && text >= 0 && text <= most ? Number(text) : null);

function read(params) {
  const state = {
    seed: whole(params.get("seed"), 1e6),
    round: whole(params.get("round"), 1e3),
    guess: params.has("guess") && params.get("guess") >= 1e-4 && params.get("guess") <= 20 ? Number(params.get("guess")) : null,
    shown: params.has("shown") ? params.get("shown") === "1" : null,
  };
  return Object.fromEntries(Object.entries(state).filter(([, value]) => value !== null));
}

const write = (state) => ({ seed: state.seed, round: state.round, guess: state.guess, shown: state.shown ? 1 : 0 });

function build(stage) {
  const left = element("div", { class: "pg-charts" });
  const right = element("div", { class: "pg-side" });
  stage.body.append(left, right);
  const shape = (width) => Math.min(0.5 * width, 16);
  const parts = {
    density: new Chart(stage, left, { label: stage.text("game.chart"), shape }),
    weights: new Chart(stage, left, { label: stage.text("game.weights"), shape }),
  };
  right.append(stage.note());
  right.append(stage.numberList([["estimatedElbo", stage.text("game.estimatedElbo")]]));
  controls(stage, right);
  parts.answer = answers(stage);
  parts.score = new Chart(stage, right, { label: stage.text("game.score"), shape: (width) => Math.min(0.62 * width, 15) });
  parts.score.box.before(parts.answer);
  return (state) => draw(stage, state, parts);
}

function controls(stage, parent) {
  const box = element("div", { class: "pg-controls" });
  box.append(
    stage.slider(stage.text("game.guess"), {
      min: GUESSES[0],
      max: GUESSES[1],
      step: 0.05,
      get: () => Math.log10(stage.state.guess),
      set: (power) => stage.state.shown || stage.set({ guess: 10 ** power }),
      shown: () => `${Number(stage.inUnit(stage.state.guess).toPrecision(2))} ${stage.text(`short.${stage.unit}`)}`,
    }),
  );
  const row = element("div", { class: "pg-row" });
  const reveal = stage.button("game.reveal", () => show(stage), "pg-main");
  const next = stage.button("game.next", () => stage.set({ round: stage.state.round + 1, shown: false, guess: DEFAULTS.guess }));
  const anew = stage.button("game.anew", () => {
    stage.set({ ...DEFAULTS, seed: 1 + Math.floor(Math.random() * 99999), history: [] });
  });
  row.append(reveal, next, anew);
  stage.fresh.push(() => (reveal.disabled = stage.state.shown));
  box.append(row);
  parent.append(box);
}

function show(stage) {
  const { divergence, kind } = roundOf(stage);
  stage.set({ shown: true, history: [...stage.state.history, { guess: stage.state.guess, divergence, kind }] });
}

/** The round of the present state, which is made once. */
function roundOf(stage) {
  const key = `${stage.state.seed}/${stage.state.round}`;
  if (stage.roundKey !== key) {
    stage.roundKey = key;
    stage.round = maths.blindRound(stage.state.seed, stage.state.round);
  }
  return stage.round;
}

const ANSWERS = ["divergence", "byWeights", "kHat", "elbo", "logEvidence"];

function answers(stage) {
  const list = element("dl", { class: "pg-numbers pg-answers" });
  for (const name of ANSWERS) {
    const verdict = element("span", { class: "pg-verdict", "data-verdict": name });
    list.append(element("div", {}, element("dt", {}, stage.text(`game.${name}`)), stage.place(name, "dd"), verdict));
  }
  return list;
}

// ---- the charts --------------------------------------------------------------------------------------------------------------

function drawDensity(stage, chart, state, round) {
  const centre = maths.momentsOf(round.humps).mean;
  const span = Math.max(REACH, Math.abs(round.q.mean - centre) + 5 * round.q.sd);
  chart.domain.x = state.shown ? [centre - span, centre + span] : [round.q.mean - 5 * round.q.sd, round.q.mean + 5 * round.q.sd];
  const [low, high] = chart.domain.x;
  const grid = Array.from({ length: 401 }, (_, k) => low + ((high - low) * k) / 400);
  const q = grid.map((z) => [z, Math.exp(maths.logNormal(round.q, z))]);
  const joint = maths.jointOf(round.humps);
  const p = grid.map((z) => [z, Math.exp(joint(z) - round.logEvidence)]);
  const highest = Math.max(...q.map(([, y]) => y), ...(state.shown ? p.map(([, y]) => y) : []));
  chart.domain.y = [-0.08 * highest, 1.2 * highest];
  const shapes = chart.axes({
    x: ticks(low, high, 6),
    y: ticks(0, 1.2 * highest, 4),
    xLabel: "z",
    yLabel: stage.text(state.shown ? "game.both" : "game.onlyQ"),
    baseline: 0,
  });
  if (state.shown) shapes.push(chart.area(p, "pg-p"), chart.line(p, "pg-line-p"));
  shapes.push(chart.area(q, "pg-q-area"), chart.line(q, "pg-q"));
  for (const z of round.draws.slice(0, SEEN)) shapes.push(chart.line([[z, -0.07 * highest], [z, -0.01 * highest]], "pg-rug"));
  chart.paint(shapes);
}

/** What a program that fits q sees: the log weight of each draw, up to a constant that it does not know. */
function drawWeights(stage, chart, round) {
  const middle = round.logWeights.reduce((sum, value) => sum + value, 0) / round.logWeights.length;
  const seen = round.draws.map((z, k) => [z, round.logWeights[k] - middle]);
  const reach = Math.max(1, ...seen.map(([, y]) => Math.abs(y))) * 1.1;
  chart.domain = { x: [round.q.mean - 5 * round.q.sd, round.q.mean + 5 * round.q.sd], y: [-reach, reach] };
  const shapes = chart.axes({
    x: ticks(...chart.domain.x, 6),
    y: ticks(-reach, reach, 4),
    yText: (value) => stage.format(value, reach < 3 ? 1 : 0),
    xLabel: stage.text("game.draws"),
    yLabel: stage.text("game.weightsAxis"),
    baseline: 0,
  });
  shapes.push(seen.map(([z, y]) => chart.dot(z, y, 2.2, "pg-weight")));
  chart.paint(shapes);
}

function drawScore(stage, chart, state) {
  chart.box.hidden = state.history.length === 0;
  if (chart.box.hidden) return;
  chart.domain = { x: [-4, 1.2], y: [-4, 1.2] };
  const powers = [-4, -3, -2, -1, 0, 1];
  const text = (power) => String(Number((10 ** power).toPrecision(1)));
  const shapes = chart.axes({
    x: powers,
    y: powers,
    xText: text,
    yText: text,
    xLabel: stage.text("game.truth"),
    yLabel: stage.text("game.guesses"),
  });
  shapes.push(chart.line([[-4, -4], [1.2, 1.2]], "pg-guide"));
  const log = (value) => Math.min(1.2, Math.max(-4, Math.log10(value)));
  state.history.forEach(({ guess, divergence }, k) => {
    shapes.push(chart.dot(log(divergence), log(guess), k === state.history.length - 1 ? 8 : 5, "pg-score"));
  });
  chart.paint(shapes);
}

// ---- everything, once the state has changed -------------------------------------------------------------------------------------

function draw(stage, state, parts) {
  const round = roundOf(stage);
  drawDensity(stage, parts.density, state, round);
  drawWeights(stage, parts.weights, round);
  drawScore(stage, parts.score, state);
  stage.showPrice("estimatedElbo", round.estimatedElbo);
  parts.answer.hidden = !state.shown;
  if (state.shown) {
    for (const name of ANSWERS) {
      if (name === "kHat") stage.show(name, round.kHat, stage.format(round.kHat, 2));
      else stage.showPrice(name, round[name]);
    }
    verdicts(stage, round);
  }
  stage.root.querySelector(".pg-note").textContent = state.shown ? reading(stage, state, round) : stage.text("game.question", state.round + 1);
}

/** Whether the weights and k-hat saw what is wrong, if anything is. */
function verdicts(stage, round) {
  const wrong = round.divergence > FAR;
  const near = Math.abs(round.byWeights - round.divergence) < Math.max(0.02, 0.25 * round.divergence);
  const alarm = round.kHat > RELIABLE;
  const said = {
    byWeights: near ? "right" : "misled",
    kHat: alarm ? "alarm" : wrong ? "calm" : "right",
    elbo: "silent",
  };
  for (const [name, verdict] of Object.entries(said)) {
    stage.root.querySelector(`[data-verdict="${name}"]`).textContent = stage.text(`game.verdicts.${verdict}`);
  }
}

function reading(stage, state, round) {
  const factor = Math.max(state.guess / round.divergence, round.divergence / state.guess);
  const score = factor < 1.5 ? stage.text("game.close") : stage.text("game.off", stage.format(factor, factor < 10 ? 1 : 0));
  return `${score} ${stage.text(`game.kinds.${round.kind}`)}`;
}

const thumbnail = (stage, chart) => drawWeights(stage, chart, maths.blindRound(1, 2));

export const game = { name: "game", unit: "nats", defaults: DEFAULTS, read, write, build, thumbnail };
