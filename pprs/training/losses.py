"""Losses that the command line knows: outputs ``(m, classes)`` and labels ``(m,)`` to a scalar.

Each is the mean of a loss of one example; ``PER_EXAMPLE`` has those, for other aggregations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
LossName: TypeAlias = Literal["hinge", "cross-entropy"]
PerExampleName: TypeAlias = Literal["hinge", "cross-entropy", "l1"]


def hinge(scores: Tensor, labels: Tensor) -> Tensor:
    r"""Multi-class hinge loss $\frac1C \sum_{c \ne y} \max(0, 1 - s_y + s_c)$, mean over examples.

    The same function as ``torch.nn.functional.multi_margin_loss``, from operations that vmap knows.
    """
    return _margins(scores, labels).mean() / scores.shape[1]


def hinges(scores: Tensor, labels: Tensor) -> Tensor:
    """The hinge loss of every example, shape ``(m,)``."""
    return _margins(scores, labels) / scores.shape[1]


def cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of every example, shape ``(m,)``."""
    return F.cross_entropy(scores, labels, reduction="none")


def distances(outputs: Tensor, labels: Tensor) -> Tensor:
    r"""The ℓ1 distance of every example's outputs to the label's unit vector, shape ``(m,)``."""
    return (outputs - _members(labels, outputs.shape[1]).to(outputs.dtype)).abs().sum(1)


LOSSES: Mapping[LossName, Loss] = {"hinge": hinge, "cross-entropy": F.cross_entropy}
PER_EXAMPLE: Mapping[PerExampleName, Loss] = {
    "hinge": hinges,
    "cross-entropy": cross_entropies,
    "l1": distances,
}


def _margins(scores: Tensor, labels: Tensor) -> Tensor:
    own = scores.gather(1, labels[:, None])
    # The label's own margin is 1, whatever the scores.
    return (1 - own + scores).clamp_min(0).sum(1) - 1


def _members(labels: Tensor, classes: int) -> Tensor:
    return labels[:, None] == torch.arange(classes, device=labels.device)
