"""Loss and accuracy on a data set, through a pipeline."""

from __future__ import annotations

import math

from torch import Tensor

from pprs.pipeline import Pipeline
from pprs.pipeline.labels import IGNORED
from pprs.smoothing import derive_seed
from pprs.training.data import Examples
from pprs.training.labels import counted
from pprs.training.losses import Loss, cross_entropy
from pprs.training.user_functions import seed_all


def has_accuracy(outputs: Tensor, target: Tensor) -> bool:
    """Whether outputs have a score for each class, and targets are labels."""
    labels = not (target.is_floating_point() or target.is_complex())
    return labels and outputs.dim() == target.dim() + 1


def evaluate(
    pipeline: Pipeline, examples: Examples, loss: Loss, batch: int, seed: int
) -> dict[str, float] | None:
    """Mean loss, and accuracy where there is one; a collective call of a copy's processes.

    Args:
        pipeline: run in evaluation mode, at the parameters as they are.
        examples: all of them count.
        loss: a mean over examples.
        batch: how many examples to run at once.
        seed: of what the examples draw.

    Returns:
        `{"loss": ..., "accuracy": ...}` on the last stage, `None` elsewhere.
    """
    sums = _Sums()
    pipeline.eval()
    for start in range(0, len(examples), batch):
        numbers = range(start, min(start + batch, len(examples)))
        inputs: tuple[Tensor, ...] = ()
        if pipeline.is_first or pipeline.is_last:  # those between read nothing of it
            seed_all(derive_seed(seed, start, "evaluation"))
            read = examples.batch(numbers)
            inputs = read.inputs
        outputs = pipeline(inputs)
        if outputs is not None:
            sums.add(outputs, read.target.to(outputs.device), loss)
    pipeline.train()
    return sums.means() if pipeline.is_last else None


class _Sums:
    def __init__(self) -> None:
        self.weight = self.labels = self.right = 0
        self.loss = 0.0

    def add(self, outputs: Tensor, target: Tensor, loss: Loss) -> None:
        # The mean of all batches together, whose labels may count unequally.
        weight = counted(target) if loss is cross_entropy else len(target)
        self.loss += loss(outputs, target).item() * weight if weight else 0.0
        self.weight += weight
        if has_accuracy(outputs, target):
            self.labels += counted(target)
            self.right += int(((outputs.argmax(-1) == target) & (target != IGNORED)).sum())

    def means(self) -> dict[str, float]:
        means = {"loss": self.loss / self.weight if self.weight else math.nan}
        return means | ({"accuracy": self.right / self.labels} if self.labels else {})
