"""Normalisation of half precision by parameters and statistics of another type."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing import _autocast
from pprs.smoothing.rules.registry import Call, rule

_HALF = (torch.float16, torch.bfloat16)
_NORMS = [
    getattr(place, f"{kind}_norm")
    for kind in ("batch", "instance", "layer", "rms")
    for place in (F, torch)
]


@rule(*_NORMS, any_call=True)
def normalise(call: Call, *args: Any, **kwargs: Any) -> Any:
    """In float32, then rounded, as torch's own kernels do; vmap's rules mix no types."""
    if not (args and isinstance(args[0], Tensor) and args[0].dtype in _HALF):
        return NotImplemented
    device, dtype = call.current.device, args[0].dtype
    single = (args[0].float(), *call.perturbed(args[1:]))
    result: Tensor = _autocast.call(device, call.function, single, call.perturbed(kwargs))
    return result if _autocast.widens(device, call.function) else result.to(dtype)
