"""What is minimised over labelled examples, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pprs.training.losses import Loss
from pprs_experiments.tasks.losses import PER_EXAMPLE, PerExampleName
from pprs_experiments.tasks.objectives import (
    Aggregation,
    cvar,
    maximum,
    mean,
    objective,
    worst_group,
)

ObjectiveName: TypeAlias = Literal["mean", "maximum", "cvar", "worst group"]
WORST_PART = 0.2
"""The fraction of the losses that CVaR averages."""

_AGGREGATIONS: Mapping[str, Aggregation] = {
    "mean": mean,
    "maximum": maximum,
    "cvar": cvar(WORST_PART),
}


def named_objective(name: ObjectiveName, loss: PerExampleName, classes: int) -> Loss:
    """A loss of outputs `(m, classes)` and labels `(m,)`, a scalar; see `tasks.objectives`.

    The groups of `"worst group"` are the classes: the examples of each are one group.

    Args:
        name: the mean, the maximum or the CVaR of the losses of examples, or the largest mean of a
            group; only the first can be divided.
        loss: of an example.
        classes: how many there are.

    Raises:
        ValueError: for other names.
    """
    if loss not in PER_EXAMPLE:
        raise ValueError(f"loss must be one of {', '.join(PER_EXAMPLE)}, got {loss!r}")
    per_example = PER_EXAMPLE[loss]
    if name in _AGGREGATIONS:
        return objective(per_example, _AGGREGATIONS[name])
    if name != "worst group":
        raise ValueError(
            f"objective must be one of {', '.join(_AGGREGATIONS)}, worst group, got {name!r}"
        )
    by_group = worst_group(per_example, classes)

    def by_class(outputs: Tensor, labels: Tensor) -> Tensor:
        return by_group(outputs, torch.stack([labels, labels], 1))

    return by_class
