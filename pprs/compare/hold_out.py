"""A part of some examples, held out."""

from __future__ import annotations

import torch
from torch import Tensor

from pprs.pipeline.labels import are_labels


def hold_out(
    labels: Tensor | None, number: int, share: float, generator: torch.Generator
) -> tuple[list[int], list[int]]:
    """The numbers of the examples that are left, and of those that are held out.

    Of each class the same share is held out, at least one example of those that have two; where
    labels are no classes, or are not known, of all examples together.

    Args:
        labels: of all examples, where they lie side by side.
        number: of examples.
        share: above 0 and below 1.
        generator: draws them.

    Raises:
        ValueError: if nothing can be held out.
    """
    order = torch.randperm(number, generator=generator)
    groups = [order]
    if labels is not None and labels.dim() == 1 and are_labels(labels):
        groups = [order[labels[order] == label] for label in sorted(set(labels.tolist()))]
    held = [group[: _taken(len(group), share)] for group in groups]
    if not any(len(part) for part in held):
        raise ValueError(
            f"no validation examples are left: none of {number} training examples can be held out "
            f"for comparing step sizes, since every class has only one; give more examples, or "
            f"--trials 1 --lr, which needs none"
        )
    left = [group[len(part) :] for group, part in zip(groups, held, strict=True)]
    return [sorted(torch.cat(parts).tolist()) for parts in (left, held)]  # type: ignore[return-value]


def _taken(number: int, share: float) -> int:
    return min(max(1, round(share * number)), number - 1)
