// The time that every linear-span procedure needs on some objective: pprs/theory/bounds/_lower.py.

import { counts, finite, positive } from "./numbers.js";

const CARMON = 12 * 152; // Carmon et al. (2017), Lemma 3
const ABOVE = 1 + 1e-12; // 1, and what rounding may add

/** The first time at which so many coordinates can be non-zero: Theorem 4. */
function firstTime(coordinate, depth) {
  if (coordinate < 1 || depth === 1) return coordinate;
  const one = (coordinate - 1) % 2;
  return 1 + ((coordinate - 1 - one) / 2) * (2 * depth - 1) + one * depth;
}

/** How many coordinates of the path of Eq. (8) can be non-zero at a time: Theorem 4. */
function pathCoordinates(time, depth) {
  if (time < 1 || depth === 1) return Math.floor(time);
  const period = 2 * depth - 1;
  const trips = Math.floor((time - 1) / period);
  const rest = time - 1 - trips * period;
  return 1 + 2 * trips + (rest >= depth - 1 ? 1 : 0);
}

function rootOfWhole(number) {
  let root = BigInt(Math.floor(Math.sqrt(Number(number))));
  while (root * root > number) root -= 1n;
  while ((root + 1n) * (root + 1n) <= number) root += 1n;
  return root;
}

/** Eq. (5) with the constants of Theorem 4, for β-smooth convex objectives. */
export function lowerSmoothConvex({ smoothness, radius, epsilon, depth }) {
  positive({ smoothness, radius, epsilon });
  counts({ depth });
  const least = finite("time", ((3 / 4) * (smoothness / epsilon) * radius * radius) / ABOVE);
  if (least > 1e30) throw new RangeError("time exceeds what is computed here");
  const found = Number((rootOfWhole(8n * BigInt(Math.ceil(least)) - 7n) - 5n) / 8n);
  const below = 8n * BigInt(Math.ceil(least)) - 7n < 25n; // where Python's // rounds down
  const time = firstTime((below ? -1 : found) + 1, depth);
  const dimension = 2 * Math.max(below ? -1 : found, 0) + 1;
  return { time: finite("time", time), equation: "Eq. (5), Theorem 4", dimension };
}

/** Eq. (7) with whole, odd numbers of coordinates, to a gradient of norm ε. */
export function lowerSmoothNonconvex({ smoothness, gap, epsilon, depth }) {
  positive({ smoothness, gap, epsilon });
  counts({ depth });
  const ratio = finite("time", (smoothness * (gap / epsilon)) / epsilon / CARMON);
  const number = Math.max(0, 2 * Math.floor((ratio - 1) / 2) + 1);
  const time = finite("time", firstTime(number, depth));
  return { time, equation: "Eq. (7), Theorem 4", dimension: Math.max(number, 1) };
}

/** The later of Theorem 8's time and Theorem 5's, for Lipschitz convex objectives: Eq. (10). */
export function lowerNonsmooth({ lipschitz, radius, epsilon, depth }) {
  positive({ lipschitz, radius, epsilon });
  counts({ depth });
  const ratio = (lipschitz / epsilon) * radius;
  finite("time", ratio * ratio + depth * ratio);
  const above = (time) => pathDecay(time, depth) * ratio > ABOVE;
  const whole = Math.max(0, Math.ceil((ratio / ABOVE) ** 2) - 1);
  if (!above(whole)) return { time: whole, equation: "Theorem 8", dimension: Math.max(whole, 1) };
  let [low, high] = [whole, 2 * whole + 1]; // the precision is not reached at the time `low`
  while (above(high)) [low, high] = [high, 2 * high];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (middle <= low || middle >= high) break; // whole numbers that large are not all there
    if (above(middle)) low = middle;
    else high = middle;
  }
  return { time: high, equation: "Eq. (10), Theorem 5", dimension: 2 * pairsAt(low, depth) + 2 + low };
}

/** The precision that no linear-span procedure beats at a time, in units of LR. */
export function sharpDecay(time, depth) {
  return Math.max(1 / Math.sqrt(Math.floor(time) + 1), pathDecay(time, depth));
}

function pairsAt(time, depth) {
  return Math.max(1, Math.floor((pathCoordinates(time, depth) + 1) / 2));
}

/** Theorem 5 in units of LR. */
function pathDecay(time, depth) {
  const k = pairsAt(time, depth);
  const count = Math.floor(time) + 1;
  const steepest = 8 * k + 1 + 2 / k + 1 / (4 * k * k);
  const gap = (x) => {
    const root = Math.sqrt(((2 * k + 1) / (4 * k * k)) * x + 1 / count);
    return (x / (2 * k) + 1 / count) / (2 * root * (Math.sqrt(steepest * x + 1) + root));
  };
  let best = 0; // a logarithm, of x in units of k / count
  for (const reach of [35, 1, 0.03]) {
    const step = (2 * reach) / 70;
    let largest = -Infinity;
    let place = best;
    for (let i = 0; i <= 70; i++) {
      const tried = best + (i === 70 ? reach : i * step - reach);
      const value = gap(Math.exp(tried) * (k / count));
      if (value > largest) [largest, place] = [value, tried];
    }
    best = place;
  }
  return gap(Math.exp(best) * (k / count));
}
