"""The difference of two results, and whether rounding explains it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

from pprs.smoothing import nodes

Results: TypeAlias = Mapping[str, Tensor | None]

# What rounding does is measured, on the model itself; more than this many times as much is wrong.
TIMES = 10.0


def precision(
    tensors: Iterable[Tensor], device: torch.device, between: Iterable[torch.dtype] = ()
) -> float:
    """The rounding of the coarsest floating-point type that takes part.

    Args:
        tensors: that do.
        device: where.
        between: types of what is computed on the way, as `computed_in` finds them.
    """
    found = {t.dtype for t in tensors} | {*between}
    types = {t for t in found if t.is_floating_point or t.is_complex}
    if torch.is_autocast_enabled(device.type):
        types.add(torch.get_autocast_dtype(device.type))
    return max((torch.finfo(dtype).eps for dtype in types), default=0.0)


def computed_in(ends: Iterable[object]) -> set[torch.dtype]:
    """The types in which results are computed, as far as gradients go back."""
    tensors = [end for end in ends if isinstance(end, Tensor)]
    types = {tensor.dtype for tensor in tensors}
    for node in nodes(tensors):
        types |= {made.dtype for made in node._input_metadata}
    return types


def relative_difference(a: Tensor | None, b: Tensor | None) -> float:
    """The norm of the difference, relative to the larger norm; a missing tensor counts as 0.

    What rounding does to numbers that are too small for their type is no difference.
    """
    if a is None or b is None:
        other = b if a is None else a
        return 0.0 if other is None or not other.count_nonzero() else math.inf
    if a.shape != b.shape:
        return math.inf
    distance = _distance(a, b)
    return distance / max(_norm(a), _norm(b)) if distance > _underflow(a) else 0.0


def confirmed(
    sizes: Mapping[str, float], right: Results, rounded: Iterable[Results]
) -> dict[str, float]:
    """The results that differ by more than the measured effect of rounding.

    Args:
        sizes: the relative difference of each that seems to differ.
        right: the results as they should be.
        rounded: the same at parameters that were changed in their last digits.
    """
    others = list(rounded)

    def real(name: str) -> bool:
        noise = max(
            (relative_difference(other.get(name), right.get(name)) for other in others), default=0.0
        )
        return sizes[name] == math.inf or sizes[name] > TIMES * noise

    return {name: size for name, size in sizes.items() if real(name)}


@contextmanager
def nudged(tensors: Iterable[Tensor], eps: float, seed: int) -> Iterator[None]:
    """Inside the block, tensors are changed in their last digits; zeros stay."""
    kept = []
    try:
        for number, tensor in enumerate(tensors):
            if not tensor.is_floating_point():
                continue
            kept.append((tensor, tensor.data))
            generator = torch.Generator().manual_seed(seed + number)
            noise = torch.randn(tensor.shape, generator=generator).to(tensor)
            tensor.data = _nudged(tensor.data, noise, eps)
        yield
    finally:
        for tensor, data in kept:
            tensor.data = data


def _nudged(data: Tensor, noise: Tensor, eps: float) -> Tensor:
    wide = torch.promote_types(data.dtype, torch.float32)
    return (data.to(wide) * (1 + eps * noise.to(wide))).to(data.dtype)


def shown(size: float) -> str:
    """A relative difference, for a sentence."""
    if math.isinf(size):
        return "altogether"
    return f"by {100 * size:.3g} %"


def _underflow(tensor: Tensor) -> float:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return 0.0
    kind = torch.finfo(tensor.dtype)
    return TIMES * math.sqrt(tensor.numel()) * kind.smallest_normal * kind.eps


def _distance(a: Tensor, b: Tensor) -> float:
    a, b = dense(a), dense(b).to(a.device)
    if a.dtype == b.dtype and torch.equal(a, b):
        return 0.0
    a, b = wide(a), wide(b)
    off = _norm_of(a - b)
    if math.isfinite(off):
        return off
    same = (a == b) | (a.isnan() & b.isnan())
    off = _norm_of(torch.where(same, 0, a - b))
    return off if math.isfinite(off) else math.inf


def _norm(tensor: Tensor) -> float:
    x = wide(dense(tensor))
    norm = _norm_of(x)
    return norm if math.isfinite(norm) else _norm_of(torch.where(x.isfinite(), x, 0))


def _norm_of(tensor: Tensor) -> float:
    """Squares of numbers of float32 may be too small for it."""
    dtype = torch.complex128 if tensor.is_complex() else torch.float64
    return float(torch.linalg.vector_norm(tensor, dtype=dtype))


def dense(tensor: Tensor) -> Tensor:
    """The same without graph, in the layout in which numbers can be compared."""
    tensor = tensor.detach()
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def wide(tensor: Tensor) -> Tensor:
    """The same in a type in which differences can be taken."""
    if tensor.is_complex():
        return tensor
    if not tensor.is_floating_point():
        return tensor.double()
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
