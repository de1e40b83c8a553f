"""The check that losses are finite."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from pprs.pipeline.labels import IGNORED, are_labels
from pprs.pipeline.microbatches import Microbatches
from pprs.smoothing import NotFiniteError


def check_finite(losses: Tensor, y: Tensor, divided: Microbatches, replica: int, step: int) -> None:
    """Raise `NotFiniteError` if the loss of a microbatch is infinite or NaN.

    Args:
        losses: of a copy's microbatches.
        y: the targets of the whole batch.
        divided: how the work is.
        replica: which copy.
        step: for the error.
    """
    if losses.isfinite().all():
        return
    bad = replica * len(losses) + int(losses.isfinite().logical_not().nonzero()[0])
    why = "a smaller lr or sigma may help, if all numbers of the data are finite"
    if divided.split == "examples":
        parts = divided.mesh.replicas * len(losses)
        part = y.reshape(parts, -1, *y.shape[1:])[bad]
        if are_labels(part) and (part == IGNORED).all():
            why = f"none of its labels counts, they are all {IGNORED}"
    raise NotFiniteError(
        f"step {step}: the loss of microbatch {bad} is {losses[bad % len(losses)].item()}, on the "
        f"last stage (rank {dist.get_rank()}); {why}"
    )
