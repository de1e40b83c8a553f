// The bounds of every regime, as `pprs bounds` shows them: pprs/theory/bounds/_regimes.py.

import { lowerNonsmooth, lowerSmoothConvex, lowerSmoothNonconvex } from "./lower.js";
import { pprsNonconvex, pprsNonconvexOptimal } from "./nonconvex.js";
import { positive } from "./numbers.js";
import { pprsOptimal, pprsPublished } from "./pprs.js";
import {
  accelerated, delayedGradients, gradientDescent, gradientDescentNonconvex, randomizedSmoothing,
  subgradient,
} from "./rivals.js";

const PER_EXAMPLE = "PPRS, noise per example";

/** For each regime its name, and lower bound and methods by name, as functions of constants. */
export const REGIMES = {
  lipschitz: {
    name: "convex, Lipschitz",
    lower: lowerNonsmooth,
    methods: (c) => c.batch === 1
      ? {
          subgradient,
          "delayed gradients": delayedGradients,
          "randomized smoothing": randomizedSmoothing,
          PPRS: (given) => pprsPublished(given),
          "PPRS, least time": (given, quick) => pprsOptimal(given, "shared", quick),
        }
      : {
          GPipe: subgradient,
          "randomized smoothing": randomizedSmoothing,
          "PPRS, noise shared": (given) => pprsPublished({ ...given, width: null }),
          [PER_EXAMPLE]: (given) => pprsPublished({ ...given, width: null }, "example"),
          [`${PER_EXAMPLE}, least time`]: (given, quick) => pprsOptimal(given, "example", quick),
        },
  },
  smooth: {
    name: "convex, β-smooth",
    lower: lowerSmoothConvex,
    methods: () => ({ "gradient descent": gradientDescent, AGD: accelerated }),
  },
  "nonconvex-smooth": {
    name: "non-convex, β-smooth",
    lower: lowerSmoothNonconvex,
    methods: () => ({ "gradient descent": gradientDescentNonconvex }),
  },
  "nonconvex-lipschitz": {
    name: "non-convex, Lipschitz",
    lower: null,
    methods: (c) => {
      if (c.epsilon > c.lipschitz && c.lipschitz > 0) return { PPRS: alreadyThere };
      return c.batch === 1
        ? {
            PPRS: (given) => pprsNonconvex(given),
            "PPRS, least time": (given) => pprsNonconvexOptimal(given),
          }
        : {
            "PPRS, noise shared": (given) => pprsNonconvex(given, "shared"),
            [PER_EXAMPLE]: (given) => pprsNonconvex(given, "example"),
            [`${PER_EXAMPLE}, least time`]: (given) => pprsNonconvexOptimal(given, "example"),
          };
    },
  },
};

function alreadyThere({ gap, goldsteinRadius }) {
  positive({ gap, goldstein_radius: goldsteinRadius });
  const equation = "no gradient is longer than lipschitz, below epsilon";
  return { time: 0, equation, iterations: 0 };
}

/** The rows of a regime: the lower bound as method "linear-span", if there is one, then the methods. */
export function boundsOf(regime, constants) {
  const { name, lower, methods } = REGIMES[regime];
  const shown = name + (constants.batch === 1 ? "" : ` (m = ${constants.batch})`);
  const rows = lower ? [{ regime: shown, method: "linear-span", bound: lower(constants) }] : [];
  for (const [method, bound] of Object.entries(methods(constants))) {
    rows.push({ regime: shown, method, bound: bound(constants) });
  }
  return rows;
}

/** All rows, in the order of `pprs bounds`. */
export function allBounds(constants) {
  const order = ["smooth", "nonconvex-smooth", "lipschitz", "nonconvex-lipschitz"];
  return order.flatMap((regime) => boundsOf(regime, constants));
}

/** The method of a regime that promises the least time. */
export function fastest(rows) {
  const methods = rows.filter((row) => row.method !== "linear-span");
  return methods.reduce((best, row) => (row.bound.time < best.bound.time ? row : best));
}
