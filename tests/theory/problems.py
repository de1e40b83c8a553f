"""Objectives for tests: small, and known exactly."""

import numpy as np

from pprs.theory.graph import Graph
from pprs.theory.objective import Objective
from pprs.theory.replicas import on_chain


class Affine:
    """Multiplies the sum of its inputs by a matrix; a leaf gives half the squared length."""

    def __init__(self, matrix, leaf=False):
        self.matrix, self.leaf = matrix, leaf

    def forward(self, *inputs, example):
        out = sum(inputs) @ self.matrix.T * (1 + example)
        return (out**2).sum(-1, keepdims=True) / 2 if self.leaf else out

    def backward(self, gradient, *inputs, example):
        out = sum(inputs) @ self.matrix.T * (1 + example)
        arriving = gradient * out if self.leaf else gradient
        return (arriving @ self.matrix * (1 + example),) * len(inputs)


def diamond(seed=0, dimension=3, examples=1):
    """A graph with two paths and two leaves."""
    random = np.random.default_rng(seed)
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("c", "e")]
    graph = Graph(dict.fromkeys("abcde", Graph.chain(1).nodes["f1"]), dict.fromkeys(edges, 0.0))
    components = {
        name: Affine(random.normal(size=(dimension, dimension)), leaf=name in "de")
        for name in "abcde"
    }
    return Objective(graph, components, dimension, examples)


def deviations(depth=1, examples=1, dimension=4, seed=0):
    """The mean over examples of |<a, x> - b|: convex, not smooth."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(examples, dimension)), random.normal(size=examples)
    return on_chain(
        lambda x, j: np.abs(x @ a[j] - b[j]),
        lambda x, j: np.sign(x @ a[j] - b[j])[..., None] * a[j],
        dimension,
        depth,
        examples,
    )


def quadratic(eigenvalues, depth=1):
    """Half the sum of eigenvalues times (x - 1) squared: minimum 0."""
    weights = np.asarray(eigenvalues, float)
    return on_chain(
        lambda x, j: ((x - 1) ** 2 * weights).sum(-1) / 2,
        lambda x, j: (x - 1) * weights,
        len(weights),
        depth,
    )
