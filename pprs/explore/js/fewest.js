// How many perturbations of each example make a run the shortest: pprs/theory/bounds/_fewest.py.

const ALL = 2000; // up to here every number is tried

/**
 * The n for which T(n)(nm + Δ − 1) is least; beyond 2,000 to within 1 %.
 * With `quick` fewer are tried: the n found takes at most a few thousandths longer.
 */
export function shortest(steps, batch, depth, quick = false) {
  const most = largestOfUse(steps, batch, depth);
  let best = 1;
  let least = Infinity;
  const visit = (n) => {
    const time = steps(n) * (n * batch + (depth - 1));
    if (time < least) [best, least] = [n, time];
  };
  const few = Math.min(most, quick ? 8 : ALL);
  for (let n = 1; n < few + 1; n++) visit(n);
  if (most > few) geometric(few, most, quick ? 32 : ALL, visit);
  const found = best;
  least = Infinity;
  around(found, quick ? 0.6 : 0.01, quick ? 48 : ALL, visit);
  return best;
}

/** With more than these, not even the T of infinitely many makes up for the passes. */
function largestOfUse(steps, batch, depth) {
  const useful = (steps(1) * (batch + depth - 1)) / steps(1e18) / batch;
  return Math.max(1, Math.min(useful, 1e15));
}

function geometric(start, stop, number, visit) {
  const first = Math.log10(start);
  const step = (Math.log10(stop) - first) / (number - 1);
  for (let i = 1; i < number; i++) {
    visit(Math.floor(i === number - 1 ? stop : 10 ** (i * step + first)));
  }
}

/** What lies within a part of a number, in equal steps. */
function around(found, part, number, visit) {
  const start = (1 - part) * found;
  const stop = (1 + part) * found + 1;
  const step = (stop - start) / (number - 1);
  let before = 0;
  for (let i = 0; i < number; i++) {
    const n = Math.max(1, Math.floor(i === number - 1 ? stop : i * step + start));
    if (n > before) visit(n);
    before = n;
  }
}
