"""Other shapes of what convolutions give, of which each sample is in several pieces.

What a closure sees of it is as in a plain pass, where a sample has its memory for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._copies import memory
from pprs.smoothing._vmap import internally, lies_in_one_piece, offset, strides, varies
from pprs.smoothing.rules.registry import Call, rule


@rule(
    *(Tensor.view, Tensor.view_as, Tensor.reshape, Tensor.reshape_as, torch.reshape),
    *(Tensor.flatten, torch.flatten, Tensor.ravel, torch.ravel),
    any_call=True,
)
def reshaped(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Where torch gives a view: one, or a copy of the same strides, for which it is taken."""
    plain = _plain_strides(call, args)
    if plain is None:
        return NotImplemented
    tensor, *others = args
    probe = torch.empty_strided(tensor.shape, plain, dtype=tensor.dtype, device="meta")
    try:
        shaped = internally(call.function, probe, *others, **kwargs)
    except RuntimeError:  # torch says it best, at the tensor itself
        return NotImplemented
    if memory(shaped) != memory(probe) or shaped.dtype != probe.dtype:
        return NotImplemented
    try:
        return tensor.view(shaped.shape)
    except RuntimeError:
        result = _in_one_piece(tensor, plain).view(shaped.shape)
    call.current.copies.add(tensor, result)
    return result


@rule(Tensor.as_strided, torch.as_strided, any_call=True)
def strided(
    call: Call,
    input: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Any:
    """Of strides as in a plain pass."""
    plain = _plain_strides(call, (input,))
    if plain is None:
        return NotImplemented
    piece = _in_one_piece(input, plain)
    pairs = zip(input.shape, piece.stride(), plain, strict=True)
    if any(size > 1 and one != other for size, one, other in pairs):
        raise RuntimeError(
            "as_strided of a part of what a convolution or group normalisation gives: its memory "
            "is not as without perturbations. Take the part by indices, or .clone() it first"
        )
    if storage_offset is not None:
        storage_offset -= offset(input, call.current.sample)
    result = call.default(piece, size, stride, storage_offset)
    call.current.copies.add(input, result)
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


@rule(Tensor.stride, any_call=True)
def stride(call: Call, tensor: Tensor, dim: int | None = None) -> Any:
    """As torch says; of a parameter, its own answer."""
    plain = internally(strides, tensor, call.current.sample)
    return plain if dim is None else plain[dim]


def _plain_strides(call: Call, args: Sequence[Any]) -> tuple[int, ...] | None:
    """The strides that torch would give the first argument, if it has others here."""
    if not args or not isinstance(args[0], Tensor) or not varies(args[0]):
        return None
    plain = strides(args[0], call.current.sample)
    return None if plain == args[0].stride() else plain


def _lies_beside(call: Call, tensor: Tensor) -> bool:
    plain = _plain_strides(call, (tensor,))
    return plain is not None and lies_in_one_piece(tensor.shape, plain)


def _in_one_piece(tensor: Tensor, plain: Sequence[int]) -> Tensor:
    """A copy, its dimensions in memory as torch has them."""
    order = sorted(range(tensor.dim()), key=lambda dim: -plain[dim])
    back = sorted(range(tensor.dim()), key=order.__getitem__)
    return tensor.permute(order).contiguous().permute(back)
