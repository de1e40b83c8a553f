"""Do two samples come from one distribution? Tests with a stated rate of false alarms."""

import math

import torch
from scipy.stats import ks_2samp

FALSE_ALARMS = 1e-4  # of each comparison: all its tests together


def rejections(a, b, seed=0):
    """What speaks against a and b, shape (draws, dimensions), having one distribution.

    Means by z-scores, second moments by a multiplier bootstrap of the largest z-score (which heeds
    how the many products depend on each other), the shape of random projections by Kolmogorov and
    Smirnov. Each of the three has a third of the false alarms.
    """
    generator = torch.Generator().manual_seed(seed)
    scale = torch.cat([a, b]).std(0)
    alive = scale > 1e-12 * scale.max()
    a, b = a[:, alive] / scale[alive], b[:, alive] / scale[alive]
    level, found = FALSE_ALARMS / 3, []
    z = mean_z_scores(a, b).abs().max().item()
    if z > _quantile(level / a.shape[1]):
        found.append(f"means differ: z = {z:.1f}")
    z, limit = second_moments(a, b, level, generator)
    if z > limit:
        found.append(f"second moments differ: z = {z:.1f} > {limit:.1f}")
    directions = torch.randn(a.shape[1], 16, generator=generator, dtype=a.dtype)
    p = min(
        ks_2samp(x, y, method="asymp").pvalue
        for x, y in zip(
            (a @ directions).T.cpu().numpy(), (b @ directions).T.cpu().numpy(), strict=True
        )
    )
    if p < level / 16:
        found.append(f"projections differ: p = {p:.1e}")
    return found


def mean_z_scores(a, b):
    return (a.mean(0) - b.mean(0)) / (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()


def second_moments(a, b, level, generator, repeats=400):
    """The largest z-score over all products of two coordinates, and the limit at this level.

    The limit is read from the tail of a Gaussian fit to the bootstrap's maxima (Gumbel), which
    reaches further than their count.
    """
    parts = [_products(x) for x in (a, b)]
    error = sum(variance for _, variance, _ in parts).sqrt()
    keep = error > 1e-12 * error.max()
    z = ((parts[0][0] - parts[1][0]) / error)[keep].abs().max().item()
    sums = [
        torch.randn(repeats, len(blocks), generator=generator, dtype=a.dtype) @ blocks
        for _, _, blocks in parts
    ]
    maxima = ((sums[0] - sums[1]) / error)[:, keep].abs().amax(1)
    beta = maxima.std().item() * math.sqrt(6) / math.pi
    mode = maxima.mean().item() - 0.5772156649 * beta
    return z, mode - beta * math.log(-math.log1p(-level))


def _products(x, blocks=1000):
    """The mean of each product of two coordinates, its variance, and what each block adds to it.

    Draws are independent, so sums over blocks of them have the covariance of what they sum.
    """
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    x = x - x.mean(0)
    mean, square = x.mT @ x / len(x), x.square().mT @ x.square() / len(x)
    each = x[: len(x) // blocks * blocks].view(blocks, -1, x.shape[1])
    added = (each.mT @ each - each.shape[1] * mean) / len(x)
    return mean[i, j], (square - mean.square())[i, j] / len(x), added[:, i, j]


def _quantile(level):
    """Two-sided quantile of the normal distribution."""
    return math.sqrt(2) * torch.special.erfinv(torch.tensor(1 - level, dtype=torch.float64)).item()
