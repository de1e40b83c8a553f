"""Gradient methods with unbiased noisy gradients: Lemma 1 and Lemma 2."""

from __future__ import annotations

from pprs._arguments import counts, finite, non_negative, positive
from pprs.theory.bounds._sequence import lambdas


def lemma1(
    *, smoothness: float, radius: float, noise: float, step: int, printed: bool = False
) -> float:
    r"""Bound on $\mathbb{E} f(y_t) - f(x)$ for accelerated gradient descent with noise, Lemma 1.

    What can be proved with the lemma's indices, for every point x at distance of at most R:

    $$ \frac{\beta R^2}{2\lambda_{t-1}^2}
       + \frac{\sigma^2}{\beta} \sum_{s=1}^{t-1} \frac{\lambda_s^2}{\lambda_{t-1}^2}. $$

    A gradient g with noise has
    $\mathbb{E}[-\nabla f \cdot g/\beta + \|g\|^2/(2\beta)] \le
    -\mathbb{E}\|g\|^2/(2\beta) + \sigma^2/\beta$. With this in place of the descent inequality,
    the steps of Bubeck (2015), Theorem 3.19, add up to the above. The step $t = 1$ only moves y,
    and has the law of step 2.

    The printed Eq. (11), $2\beta R^2/(t+1)^2 + (t+1)\sigma^2/(2\beta)$, follows from it for
    $t \ge 14$. For smaller t its first term still is at least the exact worst case without noise,
    but for $t = 2$ and an x that is no minimizer: there it is $2/9$, and a linear f reaches $1/4$.

    Args:
        radius: distance $R > 0$ of the start to x.
        noise: $\sigma \ge 0$, with $\mathbb{E}\|g - \nabla f\|^2 \le \sigma^2$.
        step: number $t \ge 1$ of gradients; the sum takes time of order t.
        printed: Eq. (11) as the source has it.

    Example:
        >>> round(lemma1(smoothness=1.0, radius=1.0, noise=0.01, step=100), 5)
        0.00362
    """
    positive(smoothness=smoothness, radius=radius)
    non_negative(noise=noise)
    counts(step=step)
    if printed:
        return _weighted(smoothness, radius, noise, 2 / (step + 1) ** 2, (step + 1) / 2)
    terms = lambdas(max(step - 1, 1))
    ratios = terms / terms[-1]
    return _weighted(smoothness, radius, noise, float(terms[-1] ** -2 / 2), float(ratios @ ratios))


def lemma2(*, smoothness: float, gap: float, noise: float, iterations: int) -> float:
    r"""Bound on $\min_{t<T} \mathbb{E}\|\nabla f(\theta_t)\|^2$ for gradient descent, Lemma 2.

    $2\beta D/T + \sigma^2$ for steps of $1/\beta$, Eq. (15). It holds in expectation, as
    Eq. (16) to (18) do, and needs no convexity, although the lemma asks for it.

    Args:
        noise: $\sigma \ge 0$, with $\mathbb{E}\|g - \nabla f\|^2 \le \sigma^2$.

    Returns:
        The bound on the squared norm.

    Example:
        >>> round(lemma2(smoothness=1.0, gap=1.0, noise=0.01, iterations=100), 4)
        0.0201
    """
    positive(smoothness=smoothness)
    non_negative(gap=gap, noise=noise)
    counts(iterations=iterations)
    bound = 2 * smoothness * gap / iterations + noise * noise
    return finite("bound", bound, smoothness=smoothness, gap=gap, noise=noise)


def _weighted(
    smoothness: float, radius: float, noise: float, of_radius: float, of_noise: float
) -> float:
    bound = smoothness * radius * radius * of_radius + noise * noise / smoothness * of_noise
    return finite("bound", bound, smoothness=smoothness, radius=radius, noise=noise)
