"""Normalisation of half precision by parameters and statistics of another type."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pprs.smoothing import _autocast
from pprs.smoothing._pass import Args, Func, Kwargs, Smoothed

_HALF = (torch.float16, torch.bfloat16)


def norm(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """In float32, then rounded, as torch's own kernels do; vmap's rules mix no types."""
    if not (args and isinstance(args[0], Tensor) and args[0].dtype in _HALF):
        return NotImplemented
    device, dtype = mode.sample.device.type, args[0].dtype
    single = (args[0].float(), *mode.valued(args[1:]))
    result: Tensor = _autocast.call(device, func, single, mode.valued(kwargs))
    return result if _autocast.widens(device, func) else result.to(dtype)
