// PPRS without convexity, to Goldstein gradients: pprs/theory/bounds/_nonconvex.py and
// _nonconvex_optimal.py.

import { chiSquaredTail } from "./gamma.js";
import { chainTime, counts, finite, perturbations, positive, whole } from "./numbers.js";
import { SMOOTHNESS } from "./pprs.js";

const TAILS = 400; // probabilities p that are tried

export function pprsNonconvex(constants, noise = "shared") {
  const { lipschitz, gap, epsilon, goldsteinRadius, dimension, depth, batch } = constants;
  const ratio = checkedRatio(constants);
  const logs = 4 * Math.log(3 * ratio) + 2 * Math.log(2 * Math.E) * dimension;
  const sigma = goldsteinRadius / Math.sqrt(logs);
  const wanted = 36 * ratio * (gap / sigma / epsilon + 2 * ratio * Math.sqrt(dimension));
  const iterations = whole("iterations", wanted);
  const [samples, rows] = perturbations(18 * ratio * ratio, batch, noise);
  return {
    time: chainTime(iterations, rows, depth),
    equation: "Eq. (23)",
    iterations,
    samples,
    sigma,
    lr: finite("lr", sigma / lipschitz),
  };
}

export function pprsNonconvexOptimal(constants, noise = "shared") {
  const { lipschitz, gap, dimension, depth, batch } = constants;
  const ratio = checkedRatio(constants);
  counts({ batch });
  const root = Math.sqrt(dimension);
  finite("iterations", ratio * ratio * root * 1e6);
  const own = noise === "example" ? batch : 1;
  let best = { time: Infinity };
  for (const rounded of [Math.floor, Math.ceil]) {
    for (let i = 0; i < TAILS; i++) {
      const tail = tailAt(i) / (ratio + 1);
      const sigma = sigmaFor(tail, constants);
      const u = (1 - tail * (1 + 1e-9)) / ratio - tail * (1 + 1e-9);
      const least = 1 / (u * u) / own; // K must exceed this
      const ideal = least + Math.sqrt(least * least + least * ((depth - 1) / batch));
      const samples = Math.max(rounded(ideal), Math.floor(least) + 1);
      const smooth = (2 * SMOOTHNESS * (gap / lipschitz / sigma + root)) / (u * u);
      const steps = Math.ceil(((smooth * samples) / (samples - least)) * (1 + 1e-12));
      const time = steps * (samples * batch + (depth - 1));
      if (time < best.time) best = { time, steps, samples, sigma };
    }
  }
  finite("iterations", best.time);
  return {
    time: chainTime(best.steps, best.samples * batch, depth),
    equation: "Theorem 6",
    iterations: best.steps,
    samples: best.samples,
    sigma: best.sigma,
    lr: finite("lr", best.sigma / SMOOTHNESS / lipschitz),
  };
}

function checkedRatio({ lipschitz, gap, epsilon, goldsteinRadius, dimension, depth }) {
  positive({ lipschitz, gap, epsilon, goldstein_radius: goldsteinRadius });
  counts({ dimension, depth });
  if (epsilon > lipschitz) {
    throw new RangeError(
      `epsilon must be at most lipschitz=${lipschitz}, since every gradient is that short ` +
        `anyway, got ${epsilon}`,
    );
  }
  return lipschitz / epsilon;
}

/** 400 numbers from 1e-9 to 1, which is left out, each the same multiple of the last. */
function tailAt(i) {
  return i === 0 ? 1e-9 : 10 ** (i * (9 / TAILS) - 9);
}

const sigmas = new Map(); // the tails depend on the ratio and the dimension only

function sigmaFor(tail, { goldsteinRadius, dimension }) {
  const key = `${dimension} ${tail}`;
  if (!sigmas.has(key)) {
    if (sigmas.size > 20000) sigmas.clear();
    sigmas.set(key, Math.sqrt(chiSquaredTail(tail, dimension)));
  }
  return goldsteinRadius / sigmas.get(key);
}
