"""Labels: which count, which are no class of the model, and those of a language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pprs.pipeline.labels import IGNORED, are_labels


def counted(labels: Tensor) -> int:
    """How many count in a cross entropy."""
    return int((labels != IGNORED).sum())


def outside(labels: Tensor, classes: int) -> tuple[int, int] | None:
    """The first example whose label is no class, and the label; nothing if all are right.

    Args:
        labels: shape `(m, ...)`.
        classes: their number.
    """
    wrong = ((labels < 0) | (labels >= classes)) & (labels != IGNORED)
    if not wrong.any():
        return None
    first = wrong.nonzero()[0]
    return int(first[0]), int(labels[tuple(first)])


def shifted(labels: Tensor) -> Tensor:
    """The label of each token, shape `(m, tokens)`, is that of the next; the last has none."""
    none = torch.full_like(labels[:, :1], IGNORED)
    return torch.cat([labels[:, 1:], none], 1)


def copies(inputs: Sequence[Tensor], labels: Tensor) -> bool:
    """Whether the labels of tokens are the tokens themselves, as far as they count."""
    if not are_labels(labels) or labels.dim() < 2:
        return False
    count = labels != IGNORED
    return bool(count.any()) and any(
        are_labels(x) and x.shape == labels.shape and torch.equal(x[count], labels[count])
        for x in inputs
    )
