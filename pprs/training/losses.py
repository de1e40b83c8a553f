"""Losses that the command line knows: outputs `(m, classes)` and labels `(m,)` to a scalar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor

from pprs.pipeline.labels import are_labels

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of outputs `(m, ..., classes)` and labels `(m, ...)`: mean over labels."""
    return F.cross_entropy(*_tokens(outputs, labels))


def summed_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """The same, the sum over all labels that count."""
    return F.cross_entropy(*_tokens(outputs, labels), reduction="sum")


def _tokens(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    labels = labels.long() if are_labels(labels) else labels
    return outputs.reshape(-1, outputs.shape[-1]), labels.reshape(-1)


def hinge(scores: Tensor, labels: Tensor) -> Tensor:
    r"""Multi-class hinge loss $\frac1C \sum_{c \ne y} \max(0, 1 - s_y + s_c)$, mean over examples.

    The same function as `torch.nn.functional.multi_margin_loss`, from operations that vmap knows.
    """
    return margins(scores, labels).mean() / scores.shape[1]


def margins(scores: Tensor, labels: Tensor) -> Tensor:
    r"""The sum $\sum_{c \ne y} \max(0, 1 - s_y + s_c)$ of every example, shape `(m,)`."""
    own = scores.gather(1, labels[:, None])
    # The label's own margin is 1, whatever the scores.
    return (1 - own + scores).clamp_min(0).sum(1) - 1


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": cross_entropy,
    "hinge": hinge,
    "mse": F.mse_loss,
}
# Those whose targets are the numbers of classes.
LABELLED = ("cross-entropy", "hinge")
