// PPRS on Lipschitz convex objectives: pprs/theory/bounds/_convex.py and _optimal.py.

import { shortest } from "./fewest.js";
import {
  EXACT, chainTime, counts, finite, hypotenuse, lambdas, perturbations, positive, rootOrWidth,
  stepsUntil, whole,
} from "./numbers.js";

export const SMOOTHNESS = Math.sqrt(2 / Math.PI); // of f^γ, in units of L/γ: Theorem 2
const PROVED = 8; // from here on the proved form of Lemma 1 gives the 7/2 of Eq. (13)

/** PPRS as published, Eq. (13), for the mean of m examples. */
export function pprsPublished(constants, noise = "shared") {
  const { lipschitz, radius, epsilon, dimension, depth, batch, width } = constants;
  positive({ lipschitz, radius, epsilon });
  counts({ depth });
  const spread = rootOrWidth(dimension, width);
  const iterations = publishedSteps(lipschitz, radius, epsilon, spread);
  const [samples, rows] = perturbations((iterations + 1) / spread, batch, noise);
  const sigma = radius / Math.sqrt(spread) / (iterations + 1);
  return {
    time: chainTime(iterations, rows, depth),
    equation: batch === 1 ? "Eq. (14)" : `Eq. (14), noise='${noise}'`,
    iterations,
    samples,
    sigma,
    lr: finite("lr", sigma / lipschitz),
    momentum: "nesterov",
  };
}

function publishedSteps(lipschitz, radius, epsilon, spread) {
  if (epsilon >= lipschitz * radius) return 0;
  const scale = lipschitz * radius * Math.sqrt(spread);
  let iterations = Math.max(1, whole("iterations", (3.5 * scale) / epsilon) - 1);
  while (iterations < PROVED && scale * unitGap(iterations) > epsilon) iterations += 1;
  return iterations;
}

/** Eq. (12) in units of LR√W, before K is rounded up. */
function unitGap(iterations) {
  const terms = lambdas();
  const last = Math.max(iterations - 1, 1);
  let noise = 0;
  for (let t = 1; t <= last; t++) noise += (terms[t] / terms[last]) ** 2;
  const smoothness = iterations + 1;
  const start = smoothness / (2 * terms[last] ** 2);
  return start + noise / (iterations + 1) / smoothness + 1 / (iterations + 1);
}

/** The T that Theorem 3 needs for so many independent perturbations in a step. */
export function pprsSteps(ratio, smoothing, samples) {
  return stepsUntil(pprsTarget(ratio, smoothing, samples));
}

/** The λ with λ² = 2q²(sW + (8λ + 7)/(12K)), rounded up. */
function pprsTarget(ratio, smoothing, samples) {
  const half = (ratio * ratio * 2) / 3 / samples;
  const constant = 2 * ratio * ratio * (smoothing + 7 / 12 / samples);
  return (half + hypotenuse(half, Math.sqrt(constant))) * (1 + 1e-12);
}

/** PPRS with the T, K and sigma of least time: Theorem 3. */
export function pprsOptimal(constants, noise = "shared", quick = false) {
  const { lipschitz, radius, epsilon, dimension, depth, batch, width } = constants;
  positive({ lipschitz, radius, epsilon });
  counts({ depth, batch });
  const smoothing = SMOOTHNESS * rootOrWidth(dimension, width);
  const ratio = (lipschitz * radius) / epsilon;
  finite("iterations", ratio * ratio * (4 + smoothing));
  const own = noise === "example" ? batch : 1; // independent perturbations for each passed one
  const steps = (samples) => pprsSteps(ratio, smoothing, samples * own);
  const samples = ratio > 1 ? shortest(steps, batch, depth, quick) : 1;
  const iterations = ratio > 1 ? steps(samples) : 0;
  const target = pprsTarget(ratio, smoothing, samples * own);
  const reached = iterations <= EXACT ? lambdas()[Math.max(1, iterations - 1)] : target;
  const spread = smoothing + (8 * reached + 7) / (12 * samples * own);
  const sigma = (SMOOTHNESS * radius) / (reached * Math.sqrt(2 * spread));
  return {
    time: chainTime(iterations, samples * batch, depth),
    equation: batch === 1 ? "Theorem 3" : `Theorem 3, noise='${noise}'`,
    iterations,
    samples,
    sigma,
    lr: finite("lr", sigma / SMOOTHNESS / lipschitz),
    momentum: "nesterov",
  };
}
