"""PPRS as it is written, with perturbations that are drawn, many runs at once."""

import numpy as np

from pprs.theory.bounds._sequence import lambdas


def signs_of_the_largest(x):
    index = np.abs(x).argmax(axis=-1)[..., None]
    gradient = np.zeros_like(x)
    np.put_along_axis(gradient, index, np.sign(np.take_along_axis(x, index, -1)), -1)
    return gradient


def pprs_runs(bound, start, gradient, runs, rng):
    """The last y of Algorithm 1 with literal perturbations, shape (runs, d)."""
    x = np.tile(start, (runs, 1))
    y, terms = x, lambdas(bound.iterations + 1)
    for t in range(bound.iterations):
        noise = bound.sigma * rng.standard_normal((runs, bound.samples, start.size))
        following = x - bound.lr * gradient(x[:, None] + noise).mean(axis=1)
        momentum = (terms[t] - 1) / terms[t + 1]
        x, y = (1 + momentum) * following - momentum * y, following
    return y
