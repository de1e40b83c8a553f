// The tail of the Gaussian norm: scipy.stats.chi2.isf, which the bounds without convexity need.

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
  -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
  1.5056327351493116e-7,
];
const LARGE = 1e6; // from this shape on the uniform expansion is exact enough

function logGamma(a) {
  if (a > 10) {
    const z = 1 / (a * a);
    const series = (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z / 1188)))) / a;
    return (a - 0.5) * Math.log(a) - a + 0.5 * Math.log(2 * Math.PI) + series;
  }
  let sum = LANCZOS[0];
  for (let i = 1; i < 9; i++) sum += LANCZOS[i] / (a - 1 + i);
  const t = a + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (a - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The logarithm of Q(a, x), and its derivative by x. */
function logUpper(a, x) {
  const front = a * Math.log(x) - x - logGamma(a); // of x^a e^-x / Γ(a)
  const log = x < a + 1 ? Math.log1p(-lowerSeries(a, x, front)) : front + fraction(a, x);
  return [log, -Math.exp(front - Math.log(x) - log)];
}

function lowerSeries(a, x, front) {
  let term = 1 / a;
  let sum = term;
  for (let n = a + 1; term > sum * 1e-17; n++) {
    term *= x / n;
    sum += term;
  }
  return Math.min(sum * Math.exp(front), 1 - 1e-16);
}

/** The logarithm of Γ(a, x) x^-a e^x as Lentz's continued fraction. */
function fraction(a, x) {
  let b = x + 1 - a;
  let c = 1e300;
  let d = 1 / b;
  let product = d;
  for (let i = 1; i < 100000; i++) {
    const factor = -i * (i - a);
    b += 2;
    d = 1 / (factor * d + b);
    c = b + factor / c;
    product *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return Math.log(product);
}

/** The z that a standard normal number exceeds with probability q ≤ 1/2. */
function normalTail(q) {
  if (q >= 0.5) return 0;
  const t = Math.sqrt(-2 * Math.log(q));
  let z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
    (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  for (let i = 0; i < 4; i++) {
    const [log, slope] = logUpper(0.5, (z * z) / 2); // of P(|Z| > z)
    z -= (log - Math.log(2 * q)) / (slope * z);
  }
  return z;
}

/** λ ≥ 1 with λ − 1 − log λ = η²/2. */
function ratioOf(eta) {
  let ratio = 1 + eta + (eta * eta) / 3;
  for (let i = 0; i < 30; i++) {
    const u = ratio - 1;
    const change = ((u - Math.log1p(u) - (eta * eta) / 2) * ratio) / u;
    ratio -= change;
    if (Math.abs(change) < 1e-16 * ratio) break;
  }
  return ratio;
}

/** The value that a chi-squared number of d degrees exceeds with probability q ≤ 1/2. */
export function chiSquaredTail(q, d) {
  const a = d / 2;
  let x = nearTail(a, normalTail(q));
  for (let i = 0; i < 60 && a < LARGE; i++) {
    const [log, slope] = logUpper(a, x);
    const next = Math.max(x - (log - Math.log(q)) / slope, x / 4);
    const done = Math.abs(next - x) <= 1e-11 * x; // then twice as many digits are right
    x = next;
    if (done) break;
  }
  return 2 * x;
}

function nearTail(a, z) {
  if (a >= 20 && z > 0.01) { // Temme (1992)
    const eta = z / Math.sqrt(a);
    const shift = Math.log(eta / (ratioOf(eta) - 1)) / eta;
    return a * ratioOf(eta + shift / a);
  }
  const cube = 1 - 1 / (9 * a) + z / Math.sqrt(9 * a); // Wilson and Hilferty
  return Math.max(a * cube ** 3, 1e-3 * a);
}
