"""Four functions with kinks, on real data, whose minimum a specialised solver finds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pprs_experiments.maxima.solvers import multiclass, total_variation, worst_group
from pprs_experiments.tasks.convex import absolute_regression, read_svm_examples
from pprs_experiments.tasks.convex.optimum import Optimum

VARIATION = 0.1
"""The factor of an image's total variation."""
_WOMEN = 71  # the column of a9a that tells them; the next tells men


@dataclass(frozen=True)
class Problem:
    """A function of a vector, where to start, and its minimum.

    Args:
        name: of the function.
        seed: of what was drawn of the data.
        fun: of x, shape `(d,)`.
        start: $x_0$.
        optimum: by the solver.
        seconds: that the solver took.
    """

    name: str
    seed: int
    fun: Callable[[Tensor], Tensor]
    start: Tensor
    optimum: Optimum
    seconds: float

    @property
    def first(self) -> float:
        """The value at the start."""
        return float(self.fun(self.start))

    def goal(self, gap: float) -> float:
        """The value at which the relative gap is so small."""
        return self.optimum.value + gap * (self.first - self.optimum.value)


def minimax(data_dir: Path | None, seed: int) -> Problem:
    """Chebyshev regression on diabetes."""
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    products = [inputs[:, i] * inputs[:, j] for i in range(10) for j in range(i, 10)]
    chosen = _drawn(len(inputs), 300, seed)
    columns = _standard(np.column_stack([inputs, *products])[chosen])
    x = torch.from_numpy(np.column_stack([columns, np.ones(len(chosen))]))
    y = torch.from_numpy(_standard(targets[chosen]))

    def fun(weights: Tensor) -> Tensor:
        return (x @ weights - y).abs().max(0).values + 0.01 * weights.abs().sum()

    def solve() -> Optimum:
        return absolute_regression(x, y, "maximum", l1=0.01).optimum

    return _solved("minimax", seed, fun, torch.zeros(x.shape[1], dtype=x.dtype), solve)


def groups(data_dir: Path | None, seed: int, each: int = 200) -> Problem:
    """The worst of four groups of a9a, by sex and by label."""
    if data_dir is None:
        raise ValueError("a9a is needed: name the folder of the data sets with --data-dir")
    examples = read_svm_examples("a9a", data_dir)
    x, label = examples.x.numpy(), examples.y.numpy()
    group = 2 * label + x[:, _WOMEN].astype(int)
    order = _drawn(len(x), len(x), seed)
    chosen = np.concatenate([order[group[order] == g][:each] for g in range(4)])
    inputs = np.column_stack([x[chosen], np.ones(len(chosen))])
    signed = torch.from_numpy(inputs * (2 * label[chosen] - 1)[:, None])

    def fun(weights: Tensor) -> Tensor:
        hinges = (1 - signed @ weights).relu().view(4, each)
        return hinges.mean(1).max(0).values + 0.01 * weights.abs().max(0).values

    def solve() -> Optimum:
        return worst_group(signed.numpy(), group[chosen], 0.01)

    return _solved("groups", seed, fun, torch.zeros(signed.shape[1], dtype=signed.dtype), solve)


def digits(data_dir: Path | None, seed: int, count: int = 200) -> Problem:
    """Crammer and Singer's support vector machine for several classes, on digits."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    chosen = _drawn(len(pixels), count, seed)
    inputs, target = np.column_stack([pixels[chosen] / 16, np.ones(count)]), labels[chosen]
    x, y = torch.from_numpy(inputs), torch.from_numpy(target)
    others = 1.0 - torch.nn.functional.one_hot(y, 10)

    def fun(weights: Tensor) -> Tensor:
        scores = x @ weights.view(10, -1).mT
        above = (others + scores).max(1).values - scores.gather(1, y[:, None])[:, 0]
        return above.mean() + 0.001 * weights.abs().sum()

    def solve() -> Optimum:
        return multiclass(inputs, target, 10, 0.001)

    return _solved("digits", seed, fun, torch.zeros(10 * x.shape[1], dtype=x.dtype), solve)


def image(data_dir: Path | None, seed: int, side: int = 48) -> Problem:
    """A piece of a photograph with noise, whose total variation is made small."""
    noisy = noisy_image(seed, side)
    y = torch.from_numpy(noisy)

    def fun(pixels: Tensor) -> Tensor:
        x = pixels.view(side, side)
        change = (x - y).square().sum() / 2
        return change + VARIATION * (x.diff(dim=0).abs().sum() + x.diff(dim=1).abs().sum())

    return _solved("image", seed, fun, y.flatten(), lambda: total_variation(noisy, VARIATION))


def noisy_image(seed: int, side: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A square piece of scikit-learn's photograph of China, at a quarter of its size."""
    from sklearn.datasets import load_sample_image

    grey = load_sample_image("china.jpg").mean(2)[:424, :640] / 255
    small = grey.reshape(106, 4, 160, 4).mean((1, 3))
    random = np.random.default_rng(seed)
    top, left = random.integers(106 - side + 1), random.integers(160 - side + 1)
    piece = small[top : top + side, left : left + side]
    return np.asarray(piece + 0.1 * random.standard_normal(piece.shape))


PROBLEMS: Mapping[str, Callable[[Path | None, int], Problem]] = {
    "minimax": minimax,
    "groups": groups,
    "digits": digits,
    "image": image,
}


def _solved(
    name: str,
    seed: int,
    fun: Callable[[Tensor], Tensor],
    start: Tensor,
    solve: Callable[[], Optimum],
) -> Problem:
    began = time.perf_counter()
    found = solve()
    seconds = time.perf_counter() - began
    # The value at a point, which is never below the least.
    value = float(fun(found.theta))
    if not math.isclose(value, found.value, rel_tol=1e-4):
        raise ValueError(f"{name}: the solver says {found.value}, and its answer has {value}")
    return Problem(name, seed, fun, start, Optimum(found.value, found.theta), seconds)


def _drawn(total: int, count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(seed).permutation(total)[:count]


def _standard(
    columns: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray((columns - columns.mean(0)) / columns.std(0))
