"""Some of the labelled examples of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pprs._arguments import counts
from pprs.compare.examples import Examples


def drawn(examples: Examples, number: int, generator: torch.Generator) -> Examples:
    """Draw a number of examples; all, in a drawn order, where there are fewer.

    Raises:
        ValueError: if `number` is not at least 1.
    """
    counts(number=number)
    return examples[torch.randperm(len(examples), generator=generator)[:number]]


def only(examples: Examples, classes: Sequence[int]) -> Examples:
    """The examples of some classes, which are numbered anew in the given order.

    Raises:
        ValueError: for a class that there is not, one named twice, or none.
    """
    named = set(classes)
    if not named or len(named) < len(classes) or not named <= set(range(examples.classes)):
        raise ValueError(
            f"classes must name some of 0 to {examples.classes - 1}, each once, got {classes}"
        )
    number = torch.full((examples.classes,), -1)
    number[list(classes)] = torch.arange(len(classes))
    kept = number[examples.y] >= 0
    return Examples(examples.x[kept], number[examples.y[kept]], len(classes))
