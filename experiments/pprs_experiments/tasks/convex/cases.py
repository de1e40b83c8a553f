"""Problems that are means and maxima of piecewise linear functions."""

from __future__ import annotations

import torch
from torch import Tensor

from pprs.compare.examples import Examples
from pprs_experiments.tasks.convex.polyhedral import Aggregate, Polyhedral


def svm(
    examples: Examples, aggregate: Aggregate = "mean", *, l1: float = 0.0, l2: float = 0.0
) -> Polyhedral:
    r"""A linear support vector machine: hinges $\max(0, 1 - y_i x_i^\top \theta)$.

    Args:
        examples: of two classes, x of shape `(m, d)`; class 0 has $y = -1$, class 1 has $y = 1$.
        aggregate: of the hinges.
        l1: $\lambda_1 \geq 0$, the factor of $\|\theta\|_1$.
        l2: $\lambda_2 \geq 0$, the factor of $\frac12 \|\theta\|^2$.

    Raises:
        ValueError: for another number of classes, or arguments out of range.

    Example:
        >>> one = Examples(torch.tensor([[2.0]]), torch.tensor([1]), classes=2)
        >>> problem = svm(one, l1=1.0)
        >>> problem().item(), problem.minimum  # theta = 0, and theta = 1/2
        (1.0, 0.5)
    """
    if examples.classes != 2:
        raise ValueError(f"the examples must have 2 classes, got {examples.classes}")
    signed = examples.x.to(torch.float64) * (2 * examples.y[:, None] - 1)
    offsets = torch.tensor([[1.0], [0.0]]).expand(2, len(examples))
    return Polyhedral(signed, torch.tensor([-1.0, 0.0]), offsets, aggregate, l1=l1, l2=l2)


def absolute_regression(
    x: Tensor, y: Tensor, aggregate: Aggregate = "mean", *, l1: float = 0.0, l2: float = 0.0
) -> Polyhedral:
    r"""Regression by absolute deviations $|x_i^\top \theta - y_i|$.

    Args:
        x: inputs, shape `(m, d)`.
        y: targets, shape `(m,)`.
        aggregate: of the deviations.
        l1: $\lambda_1 \geq 0$, the factor of $\|\theta\|_1$.
        l2: $\lambda_2 \geq 0$, the factor of $\frac12 \|\theta\|^2$.

    Raises:
        ValueError: for shapes that do not fit, or arguments out of range.
    """
    return Polyhedral(x, torch.tensor([1.0, -1.0]), torch.stack([-y, y]), aggregate, l1=l1, l2=l2)


def maximum_of_linear(x: Tensor, y: Tensor) -> Polyhedral:
    r"""The maximum of the linear functions $x_i^\top \theta + y_i$.

    Args:
        x: slopes, shape `(m, d)`. There is a least value if 0 is in their convex hull.
        y: offsets, shape `(m,)`.

    Raises:
        ValueError: for shapes that do not fit.
    """
    return Polyhedral(x, torch.tensor([1.0]), y[None], "maximum")
