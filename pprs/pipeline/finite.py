"""The check that losses are finite."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from pprs.pipeline.labels import IGNORED, are_labels


class NotFiniteError(RuntimeError):
    """A loss is infinite or NaN; the message says in which step and microbatch."""


def check_finite(losses: Tensor, y: Tensor, first: int, step: int, parts: int | None) -> None:
    """Raise `NotFiniteError` if the loss of a microbatch is infinite or NaN.

    Args:
        losses: of consecutive microbatches.
        y: the targets of the whole batch.
        first: the number of the first of these microbatches.
        step: for the error.
        parts: into how many the targets are divided, if they are.
    """
    if losses.isfinite().all():
        return
    bad = int(losses.isfinite().logical_not().nonzero()[0])
    why = "a smaller lr or sigma may help"
    if parts is not None:
        part = y.reshape(parts, -1, *y.shape[1:])[first + bad]
        if are_labels(part) and (part == IGNORED).all():
            why = f"none of its labels counts, they are all {IGNORED}"
    raise NotFiniteError(
        f"step {step}: the loss of microbatch {first + bad} is {losses[bad].item()}, on the last "
        f"stage (rank {dist.get_rank()}); {why}"
    )
