// The formula behind each row, to be shown beside its source; HTML, with nothing of a user's in it.

const STEPS = "2T(m + Δ − 1)";
const ROOT = "√(2/π)";

const FORMULAS = {
  lipschitz: {
    "linear-span": "⌈(LR/ε)²⌉ − 1 or, where that is later, the first whole t with " +
      "LR · max<sub>x≥0</sub> (x/2k + 1/l) / (2√S (G + √S)) ≤ ε: " +
      "S = (2k+1)x/4k² + 1/l, G² = (8k + 1 + 2/k + 1/4k²)x + 1, l = ⌊t⌋ + 1, " +
      "k half the coordinates that t allows",
    subgradient: `${STEPS}, T = ⌈(LR/ε)²⌉`,
    GPipe: `${STEPS}, T = ⌈(LR/ε)²⌉`,
    "delayed gradients": "2(T + Δ − 1), T = ⌈(2Δ − 1)(LR/ε)²⌉",
    "randomized smoothing":
      "2T(Km + Δ − 1), 10 LR d<sup>1/4</sup>/T + 5 LR/√(TK) ≤ ε, with the K of least time",
    PPRS: "2T(K + Δ − 1), 7/2 · LR√W/(T + 1) ≤ ε, K = ⌈(T + 1)/W⌉, σ = R/(√W (T + 1))",
    "PPRS, noise shared": "2T(Km + Δ − 1), 7/2 · LR d<sup>1/4</sup>/(T + 1) ≤ ε, K = ⌈(T + 1)/√d⌉",
    "PPRS, noise per example":
      "2T(nm + Δ − 1), 7/2 · LR d<sup>1/4</sup>/(T + 1) ≤ ε, n = ⌈(T + 1)/(m√d)⌉",
    "PPRS, least time": `2T(K + Δ − 1), least over K: λ² ≥ 2(LR/ε)² (${ROOT} W + (8λ + 7)/12K), ` +
      "λ = λ<sub>T−1</sub> of Nesterov's sequence",
    "PPRS, noise per example, least time":
      `2T(nm + Δ − 1), least over n: λ² ≥ 2(LR/ε)² (${ROOT} W + (8λ + 7)/12nm), ` +
      "λ = λ<sub>T−1</sub> of Nesterov's sequence",
  },
  smooth: {
    "linear-span": "Until the first t with 3βR² / (4(2i + 1)(4i + 3)) ≤ ε: " +
      "i coordinates can be non-zero at t, two more in every 2Δ − 1",
    "gradient descent": `${STEPS}, βR²/(4T + 2) ≤ ε`,
    AGD: `${STEPS}, βR²/(2λ<sub>T−1</sub>²) ≤ ε`,
  },
  "nonconvex-smooth": {
    "linear-span": "1 + (2Δ − 1)(n − 1)/2, n the largest odd number up to βD/(12 · 152 ε²)",
    "gradient descent": `${STEPS}, T = ⌈2βD/ε²⌉`,
  },
  "nonconvex-lipschitz": {
    PPRS: "2T(K + Δ − 1), K = ⌈18 (L/ε)²⌉, T = ⌈36L(D + 2σL√d)/(σε²)⌉, " +
      "σ = r/√(4 log(3L/ε) + 2d log 2e)",
    "PPRS, least time": `2T(K + Δ − 1), least over K and p: 2${ROOT}/T · (D/σL + √d) + 1/K ≤ u², ` +
      "u = ε(1 − p)/L − p, p = P(σ‖X‖ &gt; r)",
    "PPRS, noise shared": "2T(Km + Δ − 1), K and T as for one example",
    "PPRS, noise per example": "2T(nm + Δ − 1), n = ⌈K/m⌉, T as for one example",
    "PPRS, noise per example, least time":
      `2T(nm + Δ − 1), least over n and p: 2${ROOT}/T · (D/σL + √d) + 1/nm ≤ u²`,
  },
};

export function formulaOf(regime, method) {
  return FORMULAS[regime][method] ?? "";
}
