// Rates of the methods that PPRS is compared with: pprs/theory/bounds/_beta_smooth.py, _convex.py,
// _delayed.py and _duchi.py.

import { shortest } from "./fewest.js";
import { chainTime, counts, finite, hypotenuse, positive, stepsUntil, whole } from "./numbers.js";

export function gradientDescent({ smoothness, radius, epsilon, depth, batch }) {
  positive({ smoothness, radius, epsilon });
  counts({ depth, batch });
  const ratio = smoothness * radius * (radius / epsilon);
  const iterations = Math.max(0, whole("iterations", (ratio - 2) / 4));
  return smoothBound(iterations, smoothness, batch, depth, "Drori and Teboulle (2014)");
}

export function gradientDescentNonconvex({ smoothness, gap, epsilon, depth, batch }) {
  positive({ smoothness, gap, epsilon });
  counts({ depth, batch });
  const iterations = whole("iterations", (2 * smoothness * (gap / epsilon)) / epsilon);
  return smoothBound(iterations, smoothness, batch, depth, "Eq. (15)");
}

export function accelerated({ smoothness, radius, epsilon, depth, batch }) {
  positive({ smoothness, radius, epsilon });
  counts({ depth, batch });
  const target = finite("iterations", radius * Math.sqrt(smoothness / epsilon / 2));
  const iterations = target > 1 ? stepsUntil(target) : 0; // at the start the gap is βR²/2
  const found = smoothBound(iterations, smoothness, batch, depth, "Bubeck (2015), Theorem 3.19");
  return { ...found, momentum: "nesterov" };
}

function smoothBound(iterations, smoothness, batch, depth, equation) {
  const lr = finite("lr", 1 / smoothness);
  return { time: chainTime(iterations, batch, depth), equation, iterations, lr };
}

export function subgradient({ lipschitz, radius, epsilon, depth, batch }) {
  positive({ lipschitz, radius, epsilon });
  counts({ depth, batch });
  const ratio = (lipschitz * radius) / epsilon;
  const iterations = Math.max(1, whole("iterations", ratio * ratio));
  return {
    time: chainTime(iterations, batch, depth),
    equation: "Bubeck (2015), Theorem 3.2",
    iterations,
    lr: finite("lr", radius / lipschitz / Math.sqrt(iterations)),
  };
}

export function delayedGradients({ lipschitz, radius, epsilon, depth }) {
  positive({ lipschitz, radius, epsilon });
  counts({ depth });
  const ratio = (lipschitz * radius) / epsilon;
  const delays = 2 * depth - 1;
  const iterations = Math.max(1, whole("iterations", delays * ratio * ratio));
  return {
    time: finite("time", 2 * iterations + 2 * (depth - 1)),
    equation: "Theorem 1",
    iterations,
    lr: finite("lr", radius / lipschitz / Math.sqrt(iterations) / Math.sqrt(delays)),
  };
}

/** The smallest T of randomized smoothing for K perturbations. */
export function duchiSteps(ratio, dimension, samples) {
  const noise = (5 * ratio) / Math.sqrt(samples);
  const bias = Math.sqrt(40 * ratio * dimension ** 0.25);
  const least = ((noise + hypotenuse(noise, bias)) / 2) ** 2;
  return Math.ceil(least * (1 + 1e-12));
}

export function randomizedSmoothing(constants, quick = false) {
  const { lipschitz, radius, epsilon, dimension, depth, batch } = constants;
  positive({ lipschitz, radius, epsilon });
  counts({ dimension, depth, batch });
  const ratio = (lipschitz * radius) / epsilon;
  const root = dimension ** 0.25;
  finite("iterations", ratio * ratio * (100 + root));
  const steps = (samples) => duchiSteps(ratio, dimension, samples);
  const samples = ratio > 1 ? shortest(steps, batch, depth, quick) : 1;
  const iterations = ratio > 1 ? steps(samples) : 0;
  return {
    time: chainTime(iterations, samples * batch, depth),
    equation: "Duchi et al. (2012), Corollary 2.3",
    iterations,
    samples,
    sigma: radius / root,
  };
}
