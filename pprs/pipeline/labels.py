"""Losses that are means over the labels that count, not over examples.

Microbatches may have different numbers of labels that count, and then the mean of their means is
not the mean over the batch: so each microbatch's sum is divided by the number in the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100  # what torch's losses leave out, unless another is given

Loss = Callable[[Tensor, Tensor], Tensor]

_FUNCTIONS = (F.cross_entropy, F.nll_loss)
_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)


@dataclass(frozen=True)
class OverLabels:
    """A loss that is a mean over labels.

    Args:
        summed: its sum over the labels of outputs and targets.
        ignored: the label that does not count.
        weight: what the labels of each class count, if not all the same.
    """

    summed: Loss
    ignored: int = IGNORED
    weight: Tensor | None = None

    @classmethod
    def of(cls, loss: Any) -> OverLabels | None:
        """What is known of a loss: torch's cross entropies, or one with an `over_labels`."""
        given = getattr(loss, "over_labels", None)
        if isinstance(given, OverLabels):
            return given
        if type(loss) in _CLASSES and loss.reduction == "mean":
            options: dict[str, Any] = {"weight": loss.weight, "ignore_index": loss.ignore_index}
            if isinstance(loss, nn.CrossEntropyLoss):
                options["label_smoothing"] = loss.label_smoothing
            return cls.of(partial(_FUNCTIONS[_CLASSES.index(type(loss))], **options))
        function, options = loss, {}
        if isinstance(loss, partial) and not loss.args:
            function, options = loss.func, dict(loss.keywords)
        if function not in _FUNCTIONS or options.pop("reduction", "mean") != "mean":
            return None
        summed = partial(function, **options, reduction="sum")
        return cls(summed, options.get("ignore_index", IGNORED), options.get("weight"))

    def count(self, targets: Tensor) -> Tensor:
        """The divisor of the sum over these targets, a scalar."""
        counted = targets != self.ignored
        if self.weight is None:
            return counted.sum()
        return self.weight.to(targets.device)[targets[counted]].sum()


def are_labels(targets: Tensor) -> bool:
    """Whether targets are numbers of classes."""
    return not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)


def check_divisible(
    loss: Loss, outputs: Tensor, parts: Tensor, seen: set[int], *, others: bool
) -> None:
    """Refuse a mean over labels where the parts of a batch have different numbers of labels.

    Args:
        loss: of a batch, not one that is known.
        outputs: any, shape `(2, examples, ...)`.
        parts: the targets, shape `(parts, examples, ...)`.
        seen: labels that it was seen to weigh as others; gets another one.
        others: whether to look at others than -100.

    Raises:
        ValueError: if the parts have different numbers of labels, and the loss is a mean over them.
    """
    label, (most, fewest) = _most_uneven(parts, seen, others=others)
    if label is None:
        return
    two = parts[[most, fewest]]
    try:
        with torch.no_grad():
            right = _is_mean(loss, outputs, two)
            # What mixes examples is no mean of equal parts either: labels are not why.
            right = right or (label != IGNORED and not _is_mean(loss, outputs, two[[0, 0]]))
    except Exception:  # whatever is wrong with labels or loss, the step is about to say
        return
    seen.add(label)
    if not right:
        why = (
            f"the microbatches have other numbers of labels that are not {IGNORED}"
            if label == IGNORED
            else f"the loss weighs labels unequally, by ignore_index or weights of classes, and "
            f"the microbatches have other numbers of label {label}"
        )
        raise ValueError(
            f"{why}, so the mean "
            f"of their losses is not the loss of the batch: pass torch's cross_entropy or "
            f"nn.CrossEntropyLoss itself, whose sums are divided by the number in the whole batch, "
            f"or take split='perturbations' and noise='shared'"
        )


def _most_uneven(
    parts: Tensor, seen: set[int], *, others: bool
) -> tuple[int | None, tuple[int, int]]:
    """The label, not seen yet, whose number differs most, and the parts that have most and least.

    That which torch's losses leave out comes first.
    """
    flat = parts.flatten(1)
    labels = torch.unique(flat) if others else flat.new_tensor([IGNORED])
    numbers = torch.zeros(len(flat), len(labels), device=flat.device)
    places = torch.searchsorted(labels, flat).clamp_max(len(labels) - 1)
    numbers.scatter_add_(1, places, (labels[places] == flat).to(numbers.dtype))
    spread = numbers.amax(0) - numbers.amin(0)
    known = torch.tensor(sorted(seen), dtype=labels.dtype, device=labels.device)
    spread[torch.isin(labels, known)] = 0
    spread[labels == IGNORED] *= flat.numel() + 1
    if not spread.any():
        return None, (0, 0)
    which = int(spread.argmax())
    column = numbers[:, which]
    return int(labels[which]), (int(column.argmax()), int(column.argmin()))


def _is_mean(loss: Loss, outputs: Tensor, targets: Tensor) -> bool:
    """Whether the loss of two parts is the mean, or the sum, of theirs."""
    whole = loss(outputs.flatten(0, 1), targets.flatten(0, 1))
    mean = torch.stack([loss(o, t) for o, t in zip(outputs, targets, strict=True)]).mean()
    return any(torch.isclose(whole, sums, rtol=1e-3, atol=1e-6) for sums in (mean, 2 * mean))
