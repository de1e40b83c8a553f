// Numbers that the bounds share: what an argument must be, and the sequence of Nesterov's method.
// As in pprs/_arguments.py and pprs/theory/bounds/_sequence.py.

export const EXACT = 100000; // terms that are computed; later ones grow by a little more than 1/2

export function positive(values) {
  for (const [name, value] of Object.entries(values)) {
    if (!(typeof value === "number" && Number.isFinite(value) && value > 0)) {
      throw new RangeError(`${name} must be a finite number above 0, got ${value}`);
    }
  }
}

export function counts(values) {
  for (const [name, value] of Object.entries(values)) {
    if (!(Number.isInteger(value) && value >= 1)) {
      throw new RangeError(`${name} must be an integer of at least 1, got ${value}`);
    }
  }
}

export function finite(what, value) {
  if (Number.isFinite(value)) return value;
  throw new RangeError(`${what} exceeds the largest floating-point number for these constants`);
}

export function whole(what, value) {
  return Math.ceil(finite(what, value));
}

/** √(x² + y²) for x, y ≥ 0, to less than a unit in the last place, as the C library has it. */
export function hypotenuse(x, y) {
  const a = Math.max(x, y);
  const b = Math.min(x, y);
  const h = Math.sqrt(a * a + b * b);
  if (b === 0 || !Number.isFinite(h)) return h;
  if (h <= 2 * b) {
    const delta = h - b;
    return h - (a * (2 * delta - a) + (delta - 2 * (a - b)) * delta) / (2 * h);
  }
  const delta = h - a;
  return h - (2 * delta * (a - 2 * b) + ((4 * delta - b) * b + delta * delta)) / (2 * h);
}

let known = null;

/** λ_0 = 0 and 100,000 more terms: λ_{t+1} = (1 + √(1 + 4 λ_t²)) / 2. */
export function lambdas() {
  if (known === null) {
    known = new Float64Array(EXACT + 1);
    let current = 0;
    for (let t = 1; t <= EXACT; t++) {
      current = (1 + Math.sqrt(1 + 4 * current * current)) / 2;
      known[t] = current;
    }
  }
  return known;
}

/** The first T with λ_{T-1} ≥ target; the first step has the law of the second. */
export function stepsUntil(target) {
  if (target <= 1) return 1;
  const terms = lambdas();
  if (!(target <= terms[EXACT])) return EXACT + 1 + Math.ceil(2 * (target - terms[EXACT]));
  // (t + 1)/2 ≤ λ_t: the term is no later than 2 · target, and not much earlier.
  let high = Math.min(EXACT, Math.ceil(2 * target));
  let low = Math.max(0, Math.floor(2 * target - Math.log(target) - 3));
  if (!(terms[low] < target)) low = 0;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (terms[middle] < target) low = middle;
    else high = middle;
  }
  return high + 1;
}

/** Pipeline time of T steps that pass so many rows: 2T(rows + Δ − 1). */
export function chainTime(iterations, rows, depth) {
  return finite("time", 2 * iterations * (rows + depth - 1));
}

/** Perturbations of each example and rows of a step, for a variance of at most L² / wanted. */
export function perturbations(wanted, batch, noise) {
  counts({ batch });
  const each = whole("samples", noise === "shared" ? wanted : wanted / batch);
  return [each, each * batch];
}

/** W where it is given, else √d, which no width exceeds. */
export function rootOrWidth(dimension, width) {
  counts({ dimension });
  const root = Math.sqrt(dimension);
  if (width === null || width === undefined) return root;
  positive({ width });
  if (width > root) {
    throw new RangeError(
      `width must be at most sqrt(dimension) = ${Number(root.toPrecision(6))}, which always ` +
        `holds, got ${width}`,
    );
  }
  return width;
}
