"""Losses that the command line knows: outputs `(m, classes)` and labels `(m,)` to a scalar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
LossName: TypeAlias = Literal["hinge", "cross-entropy"]


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


LOSSES: Mapping[LossName, Loss] = {"hinge": hinge, "cross-entropy": F.cross_entropy}
