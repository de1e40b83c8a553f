"""Transposed parameters: views whose uses are caught as those of the parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._vmap import internally
from pprs.smoothing.rules.registry import Call, rule

_SWAPS = (torch.t, Tensor.t, torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes)


@rule(*_SWAPS, *(getattr(Tensor, name).__get__ for name in ("T", "mT")))
def transpose(call: Call, *args: Any, **kwargs: Any) -> Any:
    """A matrix transposed, by any of its names."""
    used = call.parameter(args[0]) if args else None
    if used is None or args[0].dim() != 2 or not torch.is_grad_enabled():
        return NotImplemented  # a view that is made under no_grad has no gradient
    dims = {d % 2 for d in (*args[1:], *kwargs.values())}
    if dims not in (set(), {0, 1}):
        return NotImplemented
    view = internally(call.function, *args, **kwargs)
    return call.current.view(used, view)
