"""Leaving vmap for a moment, to compute for all samples at once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

try:  # What vmap is made of: private, and ten times faster here than the public way around.
    from torch._C import _functorch as _vmap
    from torch._functorch.vmap import lazy_load_decompositions  # type: ignore[attr-defined]
except ImportError:  # pragma: no cover
    _vmap = None  # type: ignore[assignment]

_NEEDED = (
    "_add_batch_dim",
    "_remove_batch_dim",
    "_vmap_decrement_nesting",
    "_vmap_increment_nesting",
    "get_dynamic_layer_stack_depth",
    "get_unwrapped",
    "is_batchedtensor",
    "maybe_get_bdim",
    "maybe_get_level",
    "pop_dynamic_layer_stack",
    "push_dynamic_layer_stack",
)
_direct = all(hasattr(_vmap, name) for name in _NEEDED)


class Operand(NamedTuple):
    """A tensor seen from outside vmap.

    Args:
        value: with the samples as first dimension, unless they share it.
        shared: whether all samples have the same.
    """

    value: Tensor
    shared: bool


class Beside(NamedTuple):
    """A result in which the samples of each image lie beside one another, not in a piece for each.

    Args:
        value: shape `(images, samples, ...)`.
    """

    value: Tensor


class Periodic:
    """Rows, a piece for each sample, that repeat; and whatever is a view of all of them.

    Args:
        rows: shape `(samples, ...)`, contiguous.
        cycle: the number of samples after which they repeat.
    """

    def __init__(self, rows: Tensor, cycle: int) -> None:
        self._rows, self.cycle = rows, cycle
        self._version = rows._version

    def reaches(self, tensor: Tensor) -> bool:
        """Whether a tensor `(samples, ...)` holds just these rows, reshaped, and still does."""
        rows = self._rows
        return (
            tensor.data_ptr() == rows.data_ptr()
            and tensor.numel() == rows.numel()
            and tensor.dtype == rows.dtype
            and tensor.is_contiguous()
            and tensor.shape[0] == rows.shape[0]
            and rows._version == self._version
        )


Body = Callable[..., Any]


class _Running(threading.local):
    internally = False


running = _Running()
"""Whether this library computes, and not the closure."""


def internally(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function as a part of this library, which may read parameters as they are."""
    before, running.internally = running.internally, True
    try:
        return func(*args, **kwargs)
    finally:
        running.internally = before


def over_samples(function: Body, count: int, inputs: Sequence[Operand]) -> Any:
    """What `torch.func.vmap` gives, over samples that may draw each for itself.

    Args:
        function: of one sample's inputs; gives a tensor, or a tuple of tensors.
        count: of samples.
        inputs: at least one that samples do not share.

    Returns:
        The results, shape `(samples, ...)` each.
    """
    if not _direct:
        in_dims = tuple(None if shared else 0 for _, shared in inputs)
        return vmap(function, in_dims, randomness="different")(*(value for value, _ in inputs))
    lazy_load_decompositions()
    level = _vmap._vmap_increment_nesting(count, "different")
    try:
        seen = (x if shared else _vmap._add_batch_dim(x, 0, level) for x, shared in inputs)
        result = function(*seen)
        several = result if isinstance(result, tuple) else (result,)
        whole = tuple(_vmap._remove_batch_dim(part, level, count, 0) for part in several)
    finally:
        _vmap._vmap_decrement_nesting()
    return whole if isinstance(result, tuple) else whole[0]


def on_all_samples(
    body: Body, sample: Tensor, *operands: Tensor | None, apart: bool = False
) -> Any:
    """Call `body(*operands)` once, outside vmap, where samples are a first dimension.

    Args:
        body: takes an `Operand` (or `None`) for each operand; returns a tensor, or a tuple
            of tensors, whose first dimension are the samples; or `Beside`. Unless `apart`, its
            first operand may have more leading dimensions: those of vmaps inside this one.
        sample: the sample's number, a scalar tensor that vmap maps over.
        operands: tensors as the samples see them.
        apart: call it for every element of vmaps inside this one, over which any operand may vary.

    Returns:
        The result as the samples see it.
    """
    if innermost():
        return internally(_directly, body, sample, operands)
    return internally(_AllSamples.apply, body, sample, apart, *operands)


def not_a_view(tensor: Tensor, *shape: int) -> Tensor:
    """The same values in a shape, for a function's result: not a view in autograd's eyes.

    Autograd refuses to change views of a custom function's results in place, which activations do.
    """
    result: Tensor = torch.ops.aten._unsafe_view(tensor, shape)
    return result


def stacked(results: Sequence[Any]) -> Any:
    """Results that are tensors, or tuples of tensors, as one with a dimension more in front."""
    if isinstance(results[0], Tensor):
        return torch.stack(tuple(results))
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))


def innermost() -> bool:
    """Whether the vmap over the samples is known to be the only one here."""
    return depth() == 1


def depth() -> int:
    """How many of torch.func's transforms this runs in, as far as is known."""
    return _vmap.get_dynamic_layer_stack_depth() if _direct else 0


def varies(tensor: Tensor) -> bool:
    """Whether samples differ in this tensor, inside the vmap over them or after it."""
    return _direct and bool(_vmap.is_batchedtensor(tensor))


def underlying(tensor: Tensor) -> Tensor:
    """The tensor that holds the values of all samples."""
    while varies(tensor):
        tensor = _vmap.get_unwrapped(tensor)
    return tensor


def strides(tensor: Tensor, sample: Tensor) -> tuple[int, ...]:
    """Those that a tensor has in a plain pass, where no other samples lie between its images.

    Args:
        tensor: as the samples see it.
        sample: the sample's number.
    """
    own = tensor.stride()
    if not varies(tensor) or tensor.is_contiguous():
        return own
    step = _step(tensor, sample)
    return tuple(_without_gaps(n, step, sample) for n in own) if step else own


def offset(tensor: Tensor, sample: Tensor) -> int:
    """Where in its memory a tensor begins in a plain pass, see `strides`."""
    own, step = int(underlying(tensor).storage_offset()), _step(tensor, sample)
    return _without_gaps(own, step, sample) if step else own


def lies_in_one_piece(shape: Sequence[int], steps: Sequence[int]) -> bool:
    """Whether a tensor of these strides is contiguous."""
    piece = 1
    for size, step in zip(reversed(shape), reversed(steps), strict=True):
        if size > 1 and step != piece:
            return False
        piece *= size
    return True


def _step(tensor: Tensor, sample: Tensor) -> int:
    """How far apart two samples of a tensor lie; 0 if they share it."""
    inner = tensor
    while varies(inner):
        dim, level, inner = _layer(inner)
    return int(inner.stride(dim)) if level == _vmap.maybe_get_level(sample) else 0


def _layer(tensor: Tensor) -> tuple[int, int, Tensor]:
    """The dimension that the last vmap hides, that vmap's level, and the tensor without it."""
    return _vmap.maybe_get_bdim(tensor), _vmap.maybe_get_level(tensor), _vmap.get_unwrapped(tensor)


def _without_gaps(distance: int, step: int, sample: Tensor) -> int:
    images, within = divmod(distance, step * len(underlying(sample)))
    return images * step + within if within < step else distance


def last_sample(tensor: Tensor) -> Tensor:
    """The last sample's value of a tensor that a vmap left behind; another tensor as it is."""
    while varies(tensor):
        tensor = _vmap.get_unwrapped(tensor).select(_vmap.maybe_get_bdim(tensor), -1)
    return tensor


def _directly(body: Body, sample: Tensor, operands: tuple[Tensor | None, ...]) -> Any:
    seen = [None if tensor is None else _unwrapped(tensor) for tensor in operands]
    layer = _vmap.pop_dynamic_layer_stack()
    try:
        if torch.is_inference_mode_enabled():  # what is drawn here may be used again outside it
            with torch.inference_mode(False), torch.no_grad():
                result = body(*seen)
        else:
            result = body(*seen)
    finally:
        _vmap.push_dynamic_layer_stack(layer)
    level = _vmap.maybe_get_level(sample)
    if isinstance(result, Beside):
        return _vmap._add_batch_dim(result.value, 1, level)
    if isinstance(result, tuple):
        return tuple(_vmap._add_batch_dim(part, 0, level) for part in result)
    return _vmap._add_batch_dim(result, 0, level)


def _unwrapped(tensor: Tensor) -> Operand:
    if not _vmap.is_batchedtensor(tensor):
        return Operand(tensor, True)
    value, dim = _vmap.get_unwrapped(tensor), _vmap.maybe_get_bdim(tensor)
    return Operand(value if dim == 0 else value.movedim(dim, 0), False)


class _AllSamples(torch.autograd.Function):
    """The public way: a function whose vmap rule is called outside vmap."""

    @staticmethod
    def forward(body: Body, sample: Tensor, apart: bool, *operands: Tensor | None) -> Tensor:
        raise AssertionError("samples exist under vmap only")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "the closure takes derivatives itself, by torch.func (grad, vjp, jvp, jacrev, ...): of "
            "these transforms only torch.func.vmap goes through perturbed parameters"
        )

    jvp = backward

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, body: Body, sample: Tensor, apart: bool, *operands: Any
    ) -> Any:
        dims = in_dims[3:]
        fronted = [
            tensor.movedim(dim, 0) if isinstance(dim, int) else tensor
            for tensor, dim in zip(operands, dims, strict=True)
        ]
        if in_dims[1] is not None:
            seen = [
                None if tensor is None else Operand(tensor, dim is None)
                for tensor, dim in zip(fronted, dims, strict=True)
            ]
            result = body(*seen)
            return (result.value, 1) if isinstance(result, Beside) else (result, 0)
        # A vmap of the closure's own, inside the samples.
        call = functools.partial(_AllSamples.apply, body, sample, apart)
        if apart:
            each = [
                call(*(t if dim is None else t[i] for t, dim in zip(fronted, dims, strict=True)))
                for i in range(info.batch_size)
            ]
            return stacked(each), 0
        if any(dim is not None for dim in dims[1:]):
            raise AssertionError("only a first operand may vary over a vmap inside the samples")
        return call(*fronted), 0
