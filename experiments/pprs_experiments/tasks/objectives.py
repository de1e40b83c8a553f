"""What is minimised over examples: the mean of their losses, or something with a maximum in it.

All but the mean mix the examples: a part of the batch does not tell a part of the objective.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from pprs._arguments import counts
from pprs.training.losses import Loss

Aggregation: TypeAlias = Callable[[Tensor], Tensor]
"""Losses of examples `(m,)` to a scalar."""


def objective(per_example: Loss, aggregation: Aggregation) -> Loss:
    """A loss of outputs `(m, classes)` and labels `(m,)`, for any model and `pprs.smooth`.

    Args:
        per_example: outputs and labels to the losses of the examples, shape `(m,)`.
        aggregation: `mean`, `maximum`, or what `cvar` gives.

    Example:
        >>> from pprs_experiments.tasks.losses import distances
        >>> worst = objective(distances, maximum)
        >>> worst(torch.tensor([[1.0, 0.0], [0.5, 0.0]]), torch.tensor([0, 1]))
        tensor(1.5000)
    """
    return lambda outputs, labels: aggregation(per_example(outputs, labels))


def mean(losses: Tensor) -> Tensor:
    """The mean of all losses."""
    return losses.mean()


def maximum(losses: Tensor) -> Tensor:
    """The largest loss; where several are, they share the gradient."""
    return losses.amax()


def cvar(alpha: float) -> Aggregation:
    r"""The conditional value at risk: the mean of the worst fraction $\alpha$ of the losses.

    Where $\alpha m$ is not whole, the last of the worst counts in part: with
    $l_{(1)} \ge l_{(2)} \ge \dots$ it is $\frac{1}{\alpha m} \sum_i w_i l_{(i)}$, where
    $w_i = \min(1, \max(0, \alpha m - i + 1))$. At 1 it is the mean, and at $1/m$ or less the
    maximum.

    Args:
        alpha: $\alpha$, above 0 and at most 1.

    Raises:
        ValueError: if it is not.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be above 0 and at most 1, got {alpha!r}")

    def worst(losses: Tensor) -> Tensor:
        held = alpha * len(losses)
        largest = losses.topk(math.ceil(held)).values
        places = torch.arange(len(largest), device=losses.device, dtype=losses.dtype)
        return ((held - places).clamp_max(1) / held * largest).sum()

    return worst


def worst_group(per_example: Loss, groups: int) -> Loss:
    """The largest of the groups' mean losses, which Group DRO minimises.

    A group without examples in the batch does not count.

    Args:
        per_example: outputs and labels to the losses of the examples, shape `(m,)`.
        groups: how many there are, at least 1.

    Returns:
        A loss of outputs `(m, classes)` and targets `(m, 2)`: labels, and groups from 0 to
        `groups - 1`.

    Raises:
        ValueError: for another number of groups; the loss, for targets of another shape.

    Example:
        >>> from pprs_experiments.tasks.losses import distances
        >>> loss = worst_group(distances, groups=2)
        >>> outputs = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 0.0]])
        >>> loss(outputs, torch.tensor([[0, 0], [0, 0], [0, 1]]))
        tensor(1.)
    """
    counts(groups=groups)

    def worst(outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.dim() != 2 or targets.shape[1] != 2:
            raise ValueError(
                f"targets must have shape (m, 2), labels and groups, got {tuple(targets.shape)}"
            )
        labels, group = targets.unbind(1)
        return maximum(group_means(per_example(outputs, labels), group, groups))

    return worst


def group_means(losses: Tensor, group: Tensor, groups: int) -> Tensor:
    r"""The mean loss of every group, shape `(groups,)`; $-\infty$ of one without examples.

    Args:
        losses: shape `(m,)`.
        group: of each example, shape `(m,)`.
        groups: how many there are.
    """
    member = group[:, None] == torch.arange(groups, device=group.device)
    # Multiplied by 0, an infinite loss would make those of all groups NaN.
    sums = torch.where(member, losses[:, None], 0.0).sum(0)
    sizes = member.sum(0)
    return torch.where(sizes > 0, sums / sizes.clamp_min(1), -math.inf)
