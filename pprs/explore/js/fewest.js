// How many perturbations of each example make a run the shortest: pprs/theory/bounds/_fewest.py.

const ALL = 2000; // up to here every number is tried

/**
 * The n for which T(n)(nm + Δ − 1) is least; beyond 2,000 to within 1 %.
 * With `quick` fewer are tried: the n found takes at most a few thousandths longer.
 */
export function shortest(steps, batch, depth, quick = false) {
  const most = largestOfUse(steps, batch, depth);
  const search = quick ? coarse(most) : inOrder(most);
  const found = least(steps, batch, depth, search);
  return least(steps, batch, depth, quick ? around(found, 40) : around(found, 2000));
}

/** With more than these, not even the T of infinitely many makes up for the passes. */
function largestOfUse(steps, batch, depth) {
  const useful = (steps(1) * (batch + depth - 1)) / steps(1e18) / batch;
  return Math.max(1, Math.min(useful, 1e15));
}

function least(steps, batch, depth, tried) {
  let best = NaN;
  let shortestTime = Infinity;
  for (const n of tried) {
    const time = steps(n) * (n * batch + (depth - 1));
    if (!(time >= shortestTime)) [best, shortestTime] = [n, time];
  }
  return best;
}

function* inOrder(most) {
  const few = Math.ceil(Math.min(most, ALL));
  for (let n = 1; n <= few; n++) yield n;
  if (most > ALL) {
    for (const n of geometric(ALL, most, ALL)) if (n > ALL) yield n;
  }
}

function* coarse(most) {
  for (let n = 1; n <= Math.min(most, 8); n++) yield n;
  if (most > 8) yield* geometric(8, most, 60);
}

function* geometric(start, stop, number) {
  const first = Math.log10(start);
  const step = (Math.log10(stop) - first) / (number - 1);
  for (let i = 0; i < number; i++) {
    yield Math.floor(i === 0 ? start : i === number - 1 ? stop : 10 ** (i * step + first));
  }
}

/** What lies near a number: to within 1 % of it, or as far as the coarse search leaves open. */
function* around(found, number) {
  const spread = number === 2000 ? 0.01 : 0.4;
  const start = (1 - spread) * found;
  const stop = (1 + spread) * found + 1;
  const step = (stop - start) / (number - 1);
  let before = 0;
  for (let i = 0; i < number; i++) {
    const n = Math.max(1, Math.floor(i === number - 1 ? stop : i * step + start));
    if (n > before) yield n;
    before = n;
  }
}
