"""Losses for all samples at once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._vmap import Operand, innermost, on_all_samples, varies
from pprs.smoothing.rules.registry import Call, rule


@rule(F.cross_entropy, any_call=True)
def cross_entropy(
    call: Call,
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Samples become rows, where targets are classes: vmap takes this loss apart, in Python."""
    usual = innermost() and weight is size_average is reduce is None and not label_smoothing
    if not usual or reduction not in {"mean", "sum"}:
        return NotImplemented
    input, target = call.perturbed(input), call.perturbed(target)
    if not (isinstance(input, Tensor) and isinstance(target, Tensor) and varies(input)):
        return NotImplemented
    if input.dim() != 2 or target.shape != input.shape[:1] or target.is_floating_point():
        return NotImplemented  # torch's own error says it best

    def body(scores: Operand, classes: Operand) -> Tensor:
        count, rows, _ = scores.value.shape
        every = classes.value.expand(count, rows) if classes.shared else classes.value
        lost = F.cross_entropy(
            scores.value.flatten(0, 1), every.flatten(), None, None, ignore_index, None, "none"
        ).view(count, rows)
        wide = torch.promote_types(lost.dtype, torch.float32)
        total = lost.sum(1, dtype=wide)
        if reduction == "mean":
            total = total / (classes.value != ignore_index).sum(-1)
        return total.to(lost.dtype)

    return on_all_samples(body, call.current.sample, input, target)
