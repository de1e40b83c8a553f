"""Losses that the command line knows: outputs ``(m, classes)`` and labels ``(m,)`` to a scalar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor

LossName: TypeAlias = Literal["hinge", "cross-entropy"]


def hinge(scores: Tensor, labels: Tensor) -> Tensor:
    r"""Multi-class hinge loss $\frac1C \sum_{c \ne y} \max(0, 1 - s_y + s_c)$, mean over examples.

    The same function as ``torch.nn.functional.multi_margin_loss``, from operations that vmap knows.
    """
    own = scores.gather(1, labels[:, None])
    margins = (1 - own + scores).clamp_min(0)  # the label's own is 1, whatever the scores
    return (margins.sum(1) - 1).mean() / scores.shape[1]


LOSSES: Mapping[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": hinge,
    "cross-entropy": F.cross_entropy,
}
