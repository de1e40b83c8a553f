"""One step of a run: its gradient, and the optimizer's step from it."""

from __future__ import annotations

import math

from pprs.training.learning import Learning
from pprs.training.stages import Stages


def take_step(
    stages: Stages, learning: Learning, step: int, clip: float | None
) -> dict[str, float | None]:
    """Take a step; what is known of it. A collective call.

    Args:
        stages: of this process.
        learning: of its parameters.
        step: its number, from 0.
        clip: the largest norm of the gradient, if there is one.

    Returns:
        The loss, on the last stage at least; the step size; the gradient's norm if it is clipped.
    """
    taken: dict[str, float | None]
    if learning.searched is not None:
        loss = learning.searched.step(step).item()
        taken = {"loss": math.nan if stages.unlabelled else loss, "lr": learning.searched.lr}
        if clip is not None:
            taken["gradient_norm"] = learning.searched.gradient_norm
        return taken
    taken = {"loss": stages.gradient(step), "lr": learning.lr}
    if clip is not None:
        taken["gradient_norm"] = stages.pipeline.clip_grad_norm_(clip)
    learning.step()
    return taken
