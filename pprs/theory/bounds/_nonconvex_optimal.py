r"""PPRS to small Goldstein gradients, with the settings that make its proof's time least."""

from __future__ import annotations

import math

import numpy as np

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._nonconvex import check_precision
from pprs.theory.bounds._optimal import SMOOTHNESS
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._steps import Noise, chain_time, perturbations

_TAILS = 400  # probabilities p that are tried


def pprs_nonconvex_optimal(
    *,
    lipschitz: float,
    gap: float,
    epsilon: float,
    goldstein_radius: float,
    dimension: int,
    depth: int,
    batch: int = 1,
    noise: Noise = "shared",
) -> Bound:
    r"""PPRS to a Goldstein gradient of norm $\varepsilon$, in the least time.

    Theorem 6 of docs/theory.md: let $\gamma$ leave the probability p that a perturbation is longer
    than r, $u = \frac{\varepsilon}{L}(1 - p) - p > 0$ and $s = \sqrt{2/\pi}$. Then steps of
    $\gamma/(sL)$ reach $\min_{t<T} \mathbb{E}\|v_t\| \le \varepsilon$ if

    $$ \frac{2s}{T} \Big(\frac{D}{\gamma L} + \sqrt d\Big) + \frac1K \le u^2. $$

    For each of 400 values of p the best K is known in closed form; the least time is taken.

    Args:
        epsilon: norm $0 < \varepsilon \le L$ of the Goldstein gradient.
        noise: perturbations that the examples share, or each example's own.

    Returns:
        The settings and their time, $2T(K + \Delta - 1)$ for one example.

    Example:
        >>> from pprs.theory.bounds import pprs_nonconvex
        >>> options = dict(lipschitz=1.0, gap=1.0, epsilon=0.1, goldstein_radius=1.0)
        >>> best = pprs_nonconvex_optimal(**options, dimension=16, depth=10)
        >>> best.time < pprs_nonconvex(**options, dimension=16, depth=10).time
        True
    """
    from scipy.stats import chi2

    positive(lipschitz=lipschitz, gap=gap, epsilon=epsilon, goldstein_radius=goldstein_radius)
    counts(dimension=dimension, depth=depth)
    perturbations(1.0, batch, noise)  # which checks both
    check_precision(epsilon, lipschitz)
    ratio, root = lipschitz / epsilon, math.sqrt(dimension)
    finite("iterations", ratio * ratio * root * 1e6, lipschitz=lipschitz, epsilon=epsilon)
    own = batch if noise == "example" else 1  # independent perturbations for each passed one

    # Every p below 1 / (ratio + 1) leaves u above 0.
    tails = np.geomspace(1e-9, 1.0, _TAILS, endpoint=False) / (ratio + 1)
    sigmas = goldstein_radius / np.sqrt(chi2.isf(tails, dimension))
    u = (1 - tails * (1 + 1e-9)) / ratio - tails * (1 + 1e-9)
    with np.errstate(all="ignore"):  # what is no number is refused below
        least = 1 / u**2 / own  # K must exceed this
        best = least + np.sqrt(least * least + least * ((depth - 1) / batch))
        samples = np.maximum(np.stack([np.floor(best), np.ceil(best)]), np.floor(least) + 1)
        smooth = 2 * SMOOTHNESS * (gap / lipschitz / sigmas + root) / u**2
        steps = np.ceil(smooth * samples / (samples - least) * (1 + 1e-12))
        times = steps * (samples * batch + (depth - 1))
    which = np.unravel_index(np.argmin(times), times.shape)
    iterations = math.ceil(finite("iterations", float(steps[which]), gap=gap, epsilon=epsilon))
    each, sigma = int(samples[which]), float(sigmas[which[1]])
    lr = finite("lr", sigma / SMOOTHNESS / lipschitz, lipschitz=lipschitz, epsilon=epsilon)
    time = chain_time(iterations, each * batch, depth)
    return Bound(time, "Theorem 6", iterations, each, sigma, lr)
