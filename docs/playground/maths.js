// The mathematics of the playground, in nats, apart from all drawing. tests/playground/ holds it to vi_kl's own numbers.

const TWO_PI = 2 * Math.PI;
export const LOG2 = Math.log(2);

const total = (values) => values.reduce((sum, value) => sum + value, 0);
const clip = (value, low, high) => Math.min(high, Math.max(low, value));

// ---- probability mass functions ---------------------------------------------------------------------------------

/** Weights divided by their sum, or null where all are zero. */
export function normalised(weights) {
  const sum = total(weights);
  return sum > 0 ? weights.map((weight) => weight / sum) : null;
}

/** epsilon for every zero, taken in equal parts from the others; null where one of these has too little to give. */
export function smooth(p, epsilon) {
  const missing = p.filter((value) => value === 0).length;
  const share = (epsilon * missing) / Math.max(1, p.length - missing);
  const smoothed = p.map((value) => (value === 0 ? epsilon : value - share));
  return smoothed.every((value) => value > 0) ? smoothed : null;
}

/** -sum p log p, with 0 log 0 = 0. */
export const entropy = (p) => total(p.map((value) => (value > 0 ? -value * Math.log(value) : 0))) + 0;

/** -sum p log q: infinite where q is zero and p is not. */
export const crossEntropy = (p, q) =>
  total(p.map((value, k) => (value > 0 ? -value * Math.log(q[k]) : 0))) + 0;

/** p log(p/q) - p + q for one symbol or place: its part of KL(p||q), which is never negative. */
export function part(p, q) {
  if (p === 0) return q;
  if (q === 0) return Infinity;
  const excess = (q - p) / p;
  return p * (excess - Math.log1p(excess));
}

export const parts = (p, q) => p.map((value, k) => part(value, q[k]));

/** KL(p||q), as the sum of its parts. */
export const kl = (p, q) => total(parts(p, q));

export const TEETH = 10; // at most
const CHOOSE = [1, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1];
const UPPER = 6; // the block model's upper block begins here

export const binomial = (theta) => CHOOSE.map((ways, k) => ways * theta ** k * (1 - theta) ** (TEETH - k));
export const blocks = (theta) => CHOOSE.map((_, k) => (k >= UPPER ? theta / 5 : (1 - theta) / 6));
export const uniform = () => CHOOSE.map(() => 1 / CHOOSE.length);

/** The zero of an increasing function between low and high, to the last digit. */
function bisect(f, low, high) {
  for (let turn = 0; turn < 200; turn++) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The chance of the binomial nearest to p. Forward it has p's mean; reverse it is searched for. */
export function bestBinomial(p, direction) {
  if (direction === "forward") return total(p.map((value, k) => value * k)) / TEETH;
  const cost = (theta) => kl(binomial(theta), p);
  const grid = Array.from({ length: 513 }, (_, k) => k / 512);
  const costs = grid.map(cost);
  const best = costs.indexOf(Math.min(...costs));
  if (!Number.isFinite(costs[best]) || best === 0 || best === 512) return grid[best];
  const slope = (theta) =>
    total(binomial(theta).map((q, k) => (q > 0 ? (q * (k - TEETH * theta) * Math.log(q / p[k])) : 0)));
  return bisect(slope, grid[best - 1], grid[best + 1]);
}

/** The upper block's mass in the block model nearest to p. */
export function bestBlocks(p, direction) {
  if (direction === "forward") return total(p.slice(UPPER));
  const upper = total(p.slice(UPPER).map(Math.log)) / 5 + Math.log(5);
  const lower = total(p.slice(0, UPPER).map(Math.log)) / 6 + Math.log(6);
  if (upper === -Infinity) return 0;
  return 1 / (1 + Math.exp(lower - upper));
}

// ---- normals and mixtures of them -------------------------------------------------------------------------------

/** The log density of a normal {mean, sd}. */
export const logNormal = (q, z) => -0.5 * ((z - q.mean) / q.sd) ** 2 - Math.log(q.sd) - 0.5 * Math.log(TWO_PI);

/** What the humps' terms of the joint density are made of, apart from z. */
const termsOf = (humps) =>
  humps.map(({ mean, sd, weight }) => ({ mean, sharp: 1 / sd, log: Math.log(weight) + logNormal({ mean, sd }, mean) }));

/** The log of sum weight * normal over humps {mean, sd, weight}, as a function of z: the joint density. */
export function jointOf(humps) {
  const terms = termsOf(humps);
  return (z) => {
    let [highest, sum] = [-Infinity, 0];
    for (const { mean, sharp, log } of terms) {
      const away = (z - mean) * sharp;
      const term = log - 0.5 * away * away;
      if (term > highest) [highest, sum] = [term, sum * Math.exp(highest - term) + 1];
      else sum += Math.exp(term - highest);
    }
    return highest + Math.log(sum);
  };
}

/** Its derivative by z. */
function slopeOf(humps) {
  const terms = termsOf(humps);
  const joint = jointOf(humps);
  return (z) => {
    const whole = joint(z);
    let slope = 0;
    for (const { mean, sharp, log } of terms) {
      const away = (z - mean) * sharp;
      slope -= Math.exp(log - 0.5 * away * away - whole) * away * sharp;
    }
    return slope;
  };
}

export const evidence = (humps) => total(humps.map((hump) => hump.weight));

export function momentsOf(humps) {
  const sum = evidence(humps);
  const mean = total(humps.map((hump) => hump.weight * hump.mean)) / sum;
  const variance = total(humps.map((hump) => hump.weight * (hump.sd ** 2 + (hump.mean - mean) ** 2))) / sum;
  return { mean, sd: Math.sqrt(variance) };
}

// The trapezoidal rule is exact to rounding for smooth functions that fall off, where its step is small beside the
// distance of their singularities from the real line: for log p that is pi sd^2 / distance of two humps.
const FINEST = 0.01;
const REACH = 9.5; // sds, beyond which a normal has less than 1e-20

/** Visit the nodes of the rule for averages over a normal q: the place z, u = (z - mean)/sd, and the node's weight. */
function visitNodes(q, finest, visit) {
  const count = Math.ceil((2 * REACH * q.sd) / Math.min(finest, q.sd / 12));
  const step = (2 * REACH) / count;
  for (let k = 0; k <= count; k++) {
    const u = -REACH + k * step;
    visit(q.mean + q.sd * u, u, (Math.exp(-0.5 * u * u) * step) / Math.sqrt(TWO_PI));
  }
}

function average(q, f, finest = FINEST) {
  let sum = 0;
  visitNodes(q, finest, (z, u, weight) => (sum += weight * f(z)));
  return sum;
}

/** KL(q||p) of a normal q from the posterior, which is the joint density of the humps divided by the evidence. */
export function reverseKl(q, humps, finest = FINEST) {
  const crossed = average(q, jointOf(humps), finest);
  return Math.log(evidence(humps)) - crossed - Math.log(q.sd) - 0.5 * Math.log(TWO_PI) - 0.5;
}

/** -E_p[log p] of the posterior. */
export function entropyOf(humps) {
  const [sum, joint] = [evidence(humps), jointOf(humps)];
  return -total(humps.map((hump) => (hump.weight / sum) * (average(hump, joint) - Math.log(sum))));
}

/** KL(p||q) of the posterior p from a normal q; the entropy of p may be given where it is known. */
export function forwardKl(q, humps, entropyOfP = entropyOf(humps)) {
  const p = momentsOf(humps);
  const crossed = Math.log(q.sd) + 0.5 * Math.log(TWO_PI) + (p.sd ** 2 + (p.mean - q.mean) ** 2) / (2 * q.sd ** 2);
  return crossed - entropyOfP;
}

/** What the descent follows: the derivatives of a direction's KL by q's mean, in sds, and by the log of its sd. */
export function slopes(q, humps, direction) {
  if (direction === "forward") {
    const p = momentsOf(humps);
    const away = (q.mean - p.mean) / q.sd;
    return [away, 1 - (p.sd / q.sd) ** 2 - away ** 2];
  }
  let [byMean, byWidth] = [0, -1];
  const slopeAt = slopeOf(humps);
  visitNodes(q, FINEST, (z, u, weight) => {
    const slope = slopeAt(z) * q.sd;
    byMean -= weight * slope;
    byWidth -= weight * slope * u;
  });
  return [byMean, byWidth];
}

const LEAST_SD = 0.05;

/** One step of natural gradient descent, shortened until the KL falls; null where nothing falls any more. */
export function stepDown(q, humps, direction, rate = 0.3) {
  const cost = (at) => (direction === "forward" ? forwardKl(at, humps, 0) : reverseKl(at, humps));
  const [byMean, byWidth] = slopes(q, humps, direction);
  if (Math.max(Math.abs(byMean), Math.abs(byWidth)) < 1e-9) return null;
  const before = cost(q);
  for (let length = rate; length > 1e-4 * rate; length /= 2) {
    const grown = clip(-0.5 * length * byWidth, -1, 1);
    const moved = clip(-length * byMean, -2, 2);
    const next = { mean: q.mean + q.sd * moved, sd: Math.max(LEAST_SD, q.sd * Math.exp(grown)) };
    if (cost(next) <= before) return next;
  }
  return null;
}

/** The way downhill from q, q included: the last one is where it ends. */
export function descend(q, humps, direction, rate = 0.3, most = 600) {
  const way = [q];
  for (let turn = 0; turn < most; turn++) {
    const next = stepDown(way.at(-1), humps, direction, rate);
    if (next === null) break;
    way.push(next);
  }
  return way;
}

/** Where descents from several places end: each place once, nearest first, with the starts that led there. */
export function minima(starts, humps, direction) {
  const found = [];
  starts.forEach((start, index) => {
    const end = descend(start, humps, direction, 0.7).at(-1);
    const same = found.find((other) => Math.abs(other.mean - end.mean) + Math.abs(other.sd - end.sd) < 1e-3);
    if (same) same.starts.push(index);
    else {
      const cost = direction === "forward" ? forwardKl(end, humps) : reverseKl(end, humps);
      found.push({ ...end, cost, starts: [index] });
    }
  });
  return found.sort((one, other) => one.cost - other.cost);
}

/** KL for each of `sds` (rows) and `means` (columns) of q: coarse, for a map to be drawn. */
export function klMap(means, sds, humps, direction) {
  if (direction === "forward") {
    const entropyOfP = entropyOf(humps);
    return sds.map((sd) => means.map((mean) => forwardKl({ mean, sd }, humps, entropyOfP)));
  }
  const [step, far] = [0.1, 5]; // of the nodes; sds of q
  const low = Math.min(...means) - far * Math.max(...sds);
  const count = Math.ceil((Math.max(...means) + far * Math.max(...sds) - low) / step) + 1;
  const joint = jointOf(humps);
  const logs = Array.from({ length: count }, (_, k) => joint(low + k * step) - Math.log(evidence(humps)));
  return sds.map((sd) => means.map((mean) => {
    let [sum, mass] = [0, 0];
    const stride = Math.max(1, Math.floor(sd / (4 * step)));
    const last = Math.min(count - 1, Math.floor((mean + far * sd - low) / step));
    for (let k = Math.max(0, Math.ceil((mean - far * sd - low) / step)); k <= last; k += stride) {
      const weight = Math.exp(-0.5 * ((low + k * step - mean) / sd) ** 2);
      sum += weight * logs[k];
      mass += weight;
    }
    return -sum / mass - Math.log(sd) - 0.5 * Math.log(TWO_PI) - 0.5;
  }));
}

// ---- two correlated parameters and independent normals ------------------------------------------------------------

/** Both KLs, in closed form, of p with {sd: [a, b], rho} around 0 and q with {mean: [x, y], sd: [c, d]}. */
export function meanFieldKls(p, q) {
  const rest = 1 - p.rho ** 2;
  const [x, y] = [q.mean[0] / p.sd[0], q.mean[1] / p.sd[1]];
  const [c, d] = [q.sd[0] / p.sd[0], q.sd[1] / p.sd[1]];
  const volume = Math.log(c * d) - 0.5 * Math.log(rest); // the log ratio of the square roots of determinants
  const reverse = (c * c + d * d + x * x - 2 * p.rho * x * y + y * y) / (2 * rest) - 1 - volume;
  const forward = ((1 + x * x) / (c * c) + (1 + y * y) / (d * d)) / 2 - 1 + volume;
  return { reverse, forward };
}

/** The nearest independent normals: reverse has the conditional sds, forward the marginal ones. */
export function bestMeanField(p, direction) {
  const shrink = direction === "forward" ? 1 : Math.sqrt(1 - p.rho ** 2);
  return { mean: [0, 0], sd: p.sd.map((sd) => sd * shrink) };
}

/** One update of coordinate ascent on the ELBO: the best normal of one coordinate, given that of the other. */
export function updateCoordinate(p, q, index) {
  const other = 1 - index;
  const mean = [...q.mean];
  const sd = [...q.sd];
  mean[index] = (p.rho * p.sd[index] * q.mean[other]) / p.sd[other];
  sd[index] = p.sd[index] * Math.sqrt(1 - p.rho ** 2);
  return { mean, sd };
}

/** The error function, by its series near zero and by a continued fraction farther out. */
export function erf(x) {
  if (x < 0) return -erf(-x);
  if (x < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
      if (n > 200) break;
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (x + fraction);
  return 1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + fraction));
}

const NORMAL_95 = 1.6448536269514722; // the 95th percentile of a standard normal

/** The share of one parameter of p that lies in q's interval of 90%. */
export function coverage(p, q, index) {
  const reach = (sign) => (q.mean[index] + sign * NORMAL_95 * q.sd[index]) / p.sd[index] / Math.SQRT2;
  return 0.5 * (erf(reach(1)) - erf(reach(-1)));
}

// ---- importance weights -------------------------------------------------------------------------------------------

/** Random numbers between 0 and 1 that a seed decides (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Draws of a standard normal (Box and Muller). */
export function normalDraws(random, count) {
  const draws = [];
  while (draws.length < count) {
    const length = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = TWO_PI * random();
    draws.push(length * Math.cos(angle), length * Math.sin(angle));
  }
  return draws.slice(0, count);
}

export function logMeanExp(values) {
  const highest = Math.max(...values);
  return highest + Math.log(total(values.map((value) => Math.exp(value - highest))) / values.length);
}

const FEWEST_IN_TAIL = 5;

/** Pareto's k-hat of log weights, by the rules of vi_kl: -Infinity for no tail, Infinity for hardly any weight. */
export function paretoK(logWeights) {
  const highest = Math.max(...logWeights);
  const weights = logWeights.map((value) => Math.exp(value - highest)).sort((one, other) => one - other);
  if (weights.filter((weight) => weight > 0).length < FEWEST_IN_TAIL) return Infinity;
  const count = weights.length;
  const tail = Math.ceil(Math.min(0.2 * count, 3 * Math.sqrt(count)));
  const below = weights[count - tail - 1];
  const exceedances = weights.slice(-tail).map((weight) => weight - below).filter((excess) => excess > 0);
  if (exceedances.length < FEWEST_IN_TAIL || weights.at(-1) <= (1.1 * total(weights)) / count) return -Infinity;
  return shapeOfPareto(exceedances);
}

/** The shape of a generalised Pareto distribution, by Zhang and Stephens (2009), drawn a little towards 0.5. */
function shapeOfPareto(exceedances) {
  const count = exceedances.length;
  const grid = 30 + Math.floor(Math.sqrt(count));
  const quartile = exceedances[Math.floor(count / 4 + 0.5) - 1];
  const shape = (theta) => total(exceedances.map((excess) => Math.log1p(-theta * excess))) / count;
  const thetas = Array.from(
    { length: grid },
    (_, j) => 1 / exceedances.at(-1) + (1 - Math.sqrt(grid / (j + 0.5))) / (3 * quartile),
  );
  const profile = thetas.map((theta) => {
    const k = shape(theta);
    return count * (Math.log(-theta / k) - k - 1);
  });
  const highest = Math.max(...profile);
  const likely = profile.map((value) => Math.exp(value - highest));
  const theta = total(thetas.map((value, j) => value * likely[j])) / total(likely);
  return (shape(theta) * count + 0.5 * 10) / (count + 10);
}

// ---- the game: a posterior, and a q that was drawn blind ----------------------------------------------------------

export const DRAWS = 1000;
export const KINDS = ["right", "narrow", "wide", "shifted", "missed", "across", "skewed", "heavy"];

const POSTERIORS = {
  right: () => [{ mean: 0, sd: 1, weight: 1 }],
  narrow: (between) => [{ mean: 0, sd: between(1, 1.4), weight: 1 }],
  wide: (between) => [{ mean: 0, sd: between(0.6, 0.8), weight: 1 }],
  shifted: () => [{ mean: 0, sd: 1, weight: 1 }],
  missed: (between) => {
    const share = between(0.25, 0.75);
    return [
      { mean: -3.5, sd: between(0.6, 0.9), weight: share },
      { mean: 3.5, sd: between(0.6, 0.9), weight: 1 - share },
    ];
  },
  across: (between) => {
    const half = between(1.6, 2.4);
    return [
      { mean: -half, sd: 0.8, weight: 0.5 },
      { mean: half, sd: 0.8, weight: 0.5 },
    ];
  },
  skewed: (between) => [
    { mean: -1, sd: 0.5, weight: 0.35 },
    { mean: 0, sd: 0.8, weight: 0.35 },
    { mean: between(1.2, 1.8), sd: 1.3, weight: 0.3 },
  ],
  heavy: (between) => [
    { mean: 0, sd: 0.8, weight: 0.8 },
    { mean: 0, sd: between(2.2, 3), weight: 0.2 },
  ],
};

const APPROXIMATIONS = {
  right: (p, between) => ({ mean: between(-0.05, 0.05), sd: between(0.95, 1.05) }),
  narrow: (p, between) => ({ mean: 0, sd: p[0].sd * between(0.4, 0.6) }),
  wide: (p, between) => ({ mean: 0, sd: p[0].sd * between(1.8, 2.6) }),
  shifted: (p, between) => ({ mean: between(0.8, 1.8), sd: 1 }),
  missed: (p) => descend({ mean: -3.5, sd: 0.8 }, p, "reverse").at(-1),
  across: (p) => momentsOf(p),
  skewed: (p) => descend(momentsOf(p), p, "reverse").at(-1),
  heavy: (p) => descend({ mean: 0, sd: 1 }, p, "reverse").at(-1),
};

function shuffled(values, random) {
  const order = [...values];
  for (let k = order.length - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order;
}

/** A round of the game: what is hidden, what a program that fits q would see of it, and what it would say. */
export function blindRound(seed, round) {
  const kind = shuffled(KINDS, randomFrom(seed))[round % KINDS.length];
  const random = randomFrom(1000 * seed + round + 1);
  const between = (low, high) => low + (high - low) * random();
  const posterior = POSTERIORS[kind](between);
  const [place, mirrored, scale] = [between(-2, 2), random() < 0.5 ? -1 : 1, Math.exp(between(-12, -2))];
  const placed = (at) => ({ ...at, mean: place + mirrored * at.mean });
  const q = placed(APPROXIMATIONS[kind](posterior, between));
  const humps = posterior.map((hump) => ({ ...placed(hump), weight: hump.weight * scale }));
  const draws = normalDraws(random, DRAWS).map((u) => q.mean + q.sd * u);
  const joint = jointOf(humps);
  const logWeights = draws.map((z) => joint(z) - logNormal(q, z));
  const divergence = reverseKl(q, humps);
  return {
    kind, humps, q, draws, logWeights, divergence,
    logEvidence: Math.log(evidence(humps)),
    elbo: Math.log(evidence(humps)) - divergence,
    estimatedElbo: total(logWeights) / DRAWS,
    byWeights: logMeanExp(logWeights) - total(logWeights) / DRAWS,
    kHat: paretoK(logWeights),
  };
}
