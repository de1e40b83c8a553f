"""Losses of every example, for aggregations other than their mean: `(m, classes)` to `(m,)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.training.losses import Loss, margins

PerExampleName: TypeAlias = Literal["hinge", "cross-entropy", "l1"]


def hinges(scores: Tensor, labels: Tensor) -> Tensor:
    """The hinge loss of every example, shape `(m,)`."""
    return margins(scores, labels) / scores.shape[1]


def cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of every example, shape `(m,)`."""
    return F.cross_entropy(scores, labels, reduction="none")


def distances(outputs: Tensor, labels: Tensor) -> Tensor:
    r"""The ℓ1 distance of every example's outputs to the label's unit vector, shape `(m,)`."""
    return (outputs - _members(labels, outputs.shape[1]).to(outputs.dtype)).abs().sum(1)


PER_EXAMPLE: Mapping[PerExampleName, Loss] = {
    "hinge": hinges,
    "cross-entropy": cross_entropies,
    "l1": distances,
}


def _members(labels: Tensor, classes: int) -> Tensor:
    return labels[:, None] == torch.arange(classes, device=labels.device)
