"""Calls `kernels.c`, as `pprs.smoothing.native.build` built it."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pprs.smoothing._philox import Segments
from pprs.smoothing.native import build
from pprs.smoothing.native.recording import Key, recordable

_FEW = 32  # as in kernels.c
_SUFFIX = {torch.float32: "_f32", torch.float64: "_f64"}
_WIDE = torch.float64
_INTEGER: Any = ctypes.c_int64
_POINTER: Any = ctypes.c_void_p
_REAL: Any = ctypes.c_double
_KEY: Any = ctypes.c_uint64


@recordable
def normals(
    key: int | Key,
    role: int,
    segments: Segments,
    dtype: torch.dtype,
    perturbed: Perturbed | None = None,
) -> Tensor | None:
    """As `pprs.smoothing._philox.normals`, or `None` where there are no kernels.

    Or what they perturb, which has an element for each of the first `count` of the streams.
    """
    starts = segments.starts
    if starts.device.type != "cpu" or not has_native_kernels():
        return None
    starts, base, scale, sigma = _plain(starts), None, None, 1.0
    if perturbed is not None:
        base, scale, sigma = _plain(perturbed.base), _plain(perturbed.scale), perturbed.sigma
    rows = 1 if scale is None else scale.numel()
    samples, (own, pieces), count = segments.samples, starts.shape, segments.count
    out: Tensor = starts.new_empty((samples, pieces, count), dtype=dtype)
    lists = samples if own > 1 else 1
    _call(
        *("normal", dtype, out.data_ptr(), samples, pieces, count),
        *(_at(starts, torch.int64, lists, pieces), pieces if lists > 1 else 0),
        *(segments.first, segments.share, key, role, _at(base, dtype, count), sigma),
        *(_at(scale, dtype, rows), count // max(rows, 1)),
    )
    return out


@recordable
def several(
    keys: Sequence[int | Key],
    role: int,
    bases: Sequence[Tensor],
    sigmas: Sequence[float],
    scales: Sequence[Tensor | None],
    samples: int,
    share: int,
) -> list[Tensor] | None:
    """As `normals`, of several bases of one type and any shape, each `Perturbed`, in one call.

    Returns:
        Shape `(samples, *base.shape)` each, or `None` where there are no kernels.
    """
    if not has_native_kernels():
        return None
    real = bases[0].dtype
    bases, scales = [_plain(base) for base in bases], [_plain(scale) for scale in scales]
    counts = [base.numel() for base in bases]
    parts = [1 if scale is None else scale.numel() for scale in scales]
    outs = [base.new_empty((samples, *base.shape)) for base in bases]
    _call(
        *("several", real, len(bases), _list(_POINTER, [out.data_ptr() for out in outs])),
        *(_list(_INTEGER, counts), samples, share, _list(_KEY, keys), role),
        _list(_POINTER, [_at(base, real, *base.shape) for base in bases]),
        _list(_REAL, sigmas),
        _list(_POINTER, [_at(scale, real, n) for scale, n in zip(scales, parts, strict=True)]),
        _list(_INTEGER, [n // max(p, 1) for n, p in zip(counts, parts, strict=True)]),
    )
    return outs


@recordable
def norms(matrices: Sequence[Tensor]) -> list[Tensor] | None:
    """The norms of the rows of matrices, in float32 on a CPU; `None` where there are no kernels."""
    if not has_native_kernels():
        return None
    matrices = [_plain(matrix) for matrix in matrices]
    sizes = [tuple(matrix.shape) for matrix in matrices]
    rows = [size[0] for size in sizes]
    out: Tensor = matrices[0].new_empty(sum(rows))
    places = [_at(m, torch.float32, *size) for m, size in zip(matrices, sizes, strict=True)]
    _call(
        *("norms", torch.float32, len(rows), _list(_POINTER, places), _list(_INTEGER, rows)),
        *(_list(_INTEGER, [width for _, width in sizes]), out.data_ptr()),
    )
    return list(torch.split_with_sizes(out, rows))


def takes(rows: Tensor) -> bool:
    """Whether the kernels for few rows take rows `(..., n, i)`: a few, on a CPU."""
    few = rows.shape[-2] <= _FEW  # beyond, products in float64 are faster
    return few and rows.is_cpu and rows.dtype in _SUFFIX and has_native_kernels()


@recordable
def factor(rows: Tensor, signs: Tensor | None, jitter: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factors of Gram matrices of rows scaled to length 1, their inverses, the lengths.

    Args:
        rows: shape `(streams, n, i)`.
        signs: of the rows, `(n, 1)`, float64.
        jitter: as `pprs.smoothing._gram.factor` adds it.

    Returns:
        Shapes `(streams, n, n)` twice and `(streams, n, 1)`, float64.
    """
    rows, signs, real = _plain(rows), _plain(signs), rows.dtype
    streams, n, width = rows.shape
    lower, inverse, lengths = _factors(rows, streams)
    _call(
        *("factor", real, _at(rows, real, streams, n, width), _at(signs, _WIDE, n, 1)),
        *(streams, n, width, jitter),
        *(lower.data_ptr(), inverse.data_ptr(), lengths.data_ptr()),
    )
    return lower, inverse, lengths


@recordable
def forward(
    rows: Tensor,
    signs: Tensor | None,
    bias: Bias | None,
    scale: Tensor | None,
    outputs: int,
    drawing: Drawing,
    streams: int,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Noise of a linear map on its way forward.

    Args:
        rows: A, shape `(streams, n, i)`, or `(1, n, i)` where all X meet the same rows.
        signs: of the rows, `(n, 1)`, float64.
        bias: added to the noise, perturbed.
        scale: of the outputs' noise, `(outputs,)`.
        outputs: the map's width.
        drawing: sigma, and where the normals come from.
        streams: how many X there are.

    Returns:
        Bias plus noise and Z, shape `(streams, n, outputs)`, and what `factor` returns.
    """
    rows, signs, scale = _plain(rows), _plain(signs), _plain(scale)
    (given, n, width), real = rows.shape, rows.dtype
    bias = bias or _NO_BIAS
    if given not in {1, streams} or n > _FEW or n % bias.share:
        raise RuntimeError(f"a kernel was to take {rows.shape} for {streams} of {bias.share}")
    lower, inverse, lengths = _factors(rows, given)
    normals = rows.new_empty((streams, n, outputs))
    noisy = rows.new_empty((streams, n, outputs))
    value, bias_scale = _plain(bias.value), _plain(bias.scale)
    _call(
        *("forward", real, _at(rows, real, given, n, width), _at(signs, _WIDE, n, 1)),
        *(streams, given, n, width, outputs),
        *(drawing.jitter, drawing.key, drawing.roles[0], drawing.sigma, _at(scale, real, outputs)),
        *(_at(value, real, outputs), _at(bias_scale, real, 1), bias.sigma, bias.key, bias.role),
        *(n // bias.share, lower.data_ptr(), inverse.data_ptr(), lengths.data_ptr()),
        *(normals.data_ptr(), noisy.data_ptr()),
    )
    return noisy, normals, (lower, inverse, lengths)


@recordable
def backward(
    left: Tensor,
    left_signs: Tensor | None,
    known: tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor],
    spread: float,
    drawing: Drawing,
) -> Tensor:
    """As `pprs.smoothing._gram.Known.product`.

    Args:
        left: D, shape `(streams, q, o)`.
        left_signs: of its rows.
        known: A, its signs, the inverse of its unit root, the lengths of its rows, and Z.
        spread: standard deviation of what the jitter added to rows of length 1.
        drawing: where U and what goes with the jitter come from.
    """
    left, left_signs, rows, signs, inverse, lengths, normals = map(
        _plain, (left, left_signs, *known)
    )
    (streams, q, o), (n, width), real = left.shape, rows.shape[1:], left.dtype
    if max(q, n) > _FEW:
        raise RuntimeError(f"a kernel for {_FEW} rows was to take {q} and {n}")
    out = left.new_empty((streams, q, width))
    _call(
        *("backward", real, _at(left, real, streams, q, o), _at(left_signs, _WIDE, q, 1)),
        *(_at(rows, real, streams, n, width), _at(signs, _WIDE, n, 1)),
        *(_at(inverse, _WIDE, streams, n, n), _at(lengths, _WIDE, streams, n, 1)),
        *(_at(normals, real, streams, n, o), streams, q, n, o, width),
        *(drawing.jitter, spread, drawing.key, *drawing.roles, out.data_ptr()),
    )
    return out


@dataclass(frozen=True)
class Drawing:
    """What a kernel needs to draw.

    Args:
        key: of the parameter's streams.
        roles: of the draws.
        jitter: added to Gram matrices of rows of length 1.
        sigma: factor of the noise.
    """

    key: int | Key
    roles: tuple[int, ...]
    jitter: float
    sigma: float = 1.0


class Perturbed(NamedTuple):
    """What is perturbed: plus its noise, or minus it for every second sample that shares a stream.

    Args:
        base: shape `(count,)`.
        sigma: factor of the noise.
        scale: another one for each of so many equal parts of the base, shape `(parts,)`.
    """

    base: Tensor
    sigma: float = 1.0
    scale: Tensor | None = None


@dataclass(frozen=True)
class Bias:
    """A bias that a kernel perturbs where it is added.

    Args:
        value: shape `(outputs,)`.
        key: of its streams.
        sigma: factor of its noise.
        scale: another one, shape `(1,)`.
        role: of the draws.
        share: how many samples read a stream: those of a pair have opposite signs.
    """

    value: Tensor | None
    key: int | Key
    sigma: float
    scale: Tensor | None
    role: int
    share: int


_NO_BIAS = Bias(None, 0, 0.0, None, 0, 1)


def _factors(rows: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    n = rows.shape[-2]
    lower = rows.new_empty((count, n, n), dtype=_WIDE)
    return lower, torch.empty_like(lower), rows.new_empty((count, n, 1), dtype=_WIDE)


def _plain(tensor: Any) -> Any:
    """The same with its elements side by side in memory, as they are."""
    if tensor is None or (tensor.is_contiguous() and not tensor.is_neg()):
        return tensor
    return tensor.contiguous().resolve_neg()


def _at(tensor: Tensor | None, dtype: torch.dtype, *shape: int) -> int | None:
    """Where a kernel finds a tensor, which must be just what the kernel takes it for."""
    if tensor is None:
        return None
    where = tensor.data_ptr() if tensor.is_cpu else 0
    laid_out = tensor.is_contiguous() and not tensor.is_neg() and (where or not tensor.numel())
    if not laid_out or tensor.dtype != dtype or tensor.shape != shape:
        raise RuntimeError(
            f"a kernel was to take {tensor.dtype} of shape {tuple(tensor.shape)} on "
            f"{tensor.device} for {dtype} of shape {shape}: please report how it came to this"
        )
    return where


def _list(kind: Any, values: Sequence[Any]) -> Any:
    """An array for a kernel."""
    return _array(kind, len(values))(*values)


@functools.lru_cache(maxsize=256)
def _array(kind: Any, length: int) -> Any:
    return kind * length  # a type, which ctypes would make anew each time


def _call(name: str, real: torch.dtype, *arguments: Any) -> None:
    """Call a kernel for a type; the tensors whose places it gets must outlive the call."""
    getattr(_library(), name + _SUFFIX[real])(*arguments)


def has_native_kernels() -> bool:
    """Whether noise on the CPU is drawn by compiled code: this machine has a C compiler.

    Example:
        >>> has_native_kernels() in (True, False)
        True
    """
    return _library() is not None


@functools.cache
def _library() -> ctypes.CDLL | None:
    library = build.load()
    return None if library is None else _declared(library)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    integer, pointer, real, key = _INTEGER, _POINTER, _REAL, _KEY
    role: Any = ctypes.c_uint32
    kernels = {
        "normal": [pointer, *[integer] * 3] * 2 + [key, role, pointer, real, pointer, integer],
        "several": [integer, *[pointer] * 2, integer, integer, pointer, role, *[pointer] * 4],
        "norms": [integer, *[pointer] * 4],
        "factor": [pointer] * 2 + [integer] * 3 + [real] + [pointer] * 3,
        "forward": [pointer] * 2
        + [integer] * 5
        + [real, key, role, real, pointer, pointer, pointer, real, key, role, integer]
        + [pointer] * 5,
        "backward": [pointer] * 7 + [integer] * 5 + [real, real, key, role, role, pointer],
    }
    for name, kinds in kernels.items():
        for suffix in _SUFFIX.values() if name != "norms" else ("_f32",):
            function = getattr(library, name + suffix)
            function.argtypes, function.restype = kinds, None
    return library
