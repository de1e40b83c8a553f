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


def falling_runs(start, gradient, sigmas, samples, runs, rng):
    """The last x of Theorem 7 with L = R = 1, shape (runs, d); without rng nothing is drawn."""
    x = z = np.tile(start, (runs, 1))
    total, terms = np.zeros_like(x), lambdas(len(sigmas))[1:]
    damped = np.sqrt(4 / 3 / samples) * terms**1.5
    curvatures = np.sqrt(2 / np.pi) / sigmas + damped
    for t, term in enumerate(terms[:-1]):
        y = (1 - 1 / term) * x + z / term
        if rng is None:
            found = gradient(y)
        else:
            noise = sigmas[t] * rng.standard_normal((runs, samples, start.size))
            found = gradient(y[:, None] + noise).mean(axis=1)
        total = total + term * found
        z = start - total / curvatures[t + 1]
        x = (1 - 1 / term) * x + z / term
    return x
