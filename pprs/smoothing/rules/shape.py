"""Other shapes of what convolutions give, of which each sample is in several pieces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._vmap import internally, lie_beside, underlying
from pprs.smoothing.rules.registry import Call, rule

_STRIDED = (Tensor.as_strided, torch.as_strided)


@rule(
    *(Tensor.view, Tensor.view_as, Tensor.reshape, Tensor.reshape_as, torch.reshape),
    *(Tensor.flatten, torch.flatten, Tensor.ravel, torch.ravel, *_STRIDED),
    any_call=True,
)
def reshaped(call: Call, *args: Any, **kwargs: Any) -> Any:
    """A view, or a copy where only torch could give one: that must not be changed in place."""
    if not (args and _lies_beside(call, args[0])):
        return NotImplemented
    tensor, *others = args
    try:
        result = None if call.function in _STRIDED else call.default(*args, **kwargs)
    except RuntimeError:  # of `view`; what else is wrong is said again
        result = None
    if result is None:
        result = call.default(tensor.contiguous(), *others, **kwargs)
    if _memory(result) != _memory(tensor):
        call.current.copied(tensor, result)
    return result


@rule(Tensor.contiguous, any_call=True)
def contiguous(call: Call, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The tensor itself, as torch gives it: whatever needs it in one piece is a rule here."""
    return tensor if not args and not kwargs and _lies_beside(call, tensor) else NotImplemented


@rule(Tensor.is_contiguous, any_call=True)
def is_contiguous(call: Call, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Yes, as torch says; of a parameter, its own answer."""
    plain = not args and not kwargs and _lies_beside(call, tensor)
    return plain or internally(call.function, tensor, *args, **kwargs)


def _lies_beside(call: Call, tensor: object) -> bool:
    return isinstance(tensor, Tensor) and lie_beside(tensor, call.current.samples.count)


def _memory(tensor: Tensor) -> int:
    return int(underlying(tensor).untyped_storage()._cdata)
