"""Draws the streams of `pprs.smoothing._philox` on a CUDA device, in one kernel.

In torch's own operations a draw takes some two hundred kernels, whose launches cost more than a
small network's whole pass. Triton comes with torch's builds for CUDA; without it, there are those.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._philox import Segments
from pprs.smoothing.native.kernels import Perturbed
from pprs.smoothing.native.recording import Key

_TILE = 256  # blocks of four words that a program computes


def normals(
    key: int | Key,
    role: int,
    segments: Segments,
    dtype: torch.dtype,
    perturbed: Perturbed | None = None,
    rounded: torch.dtype | None = None,
) -> Tensor | None:
    """As `pprs.smoothing.native.kernels.normals`; `None` without CUDA or Triton.

    The result may be rounded to another type.
    """
    starts = segments.starts
    if starts.device.type != "cuda":
        return None
    kernel = _kernel()
    if kernel is None:
        return None
    return launch(kernel, key, role, segments, dtype, perturbed, rounded)


def launch(
    kernel: Any,
    key: int | Key,
    role: int,
    segments: Segments,
    dtype: torch.dtype,
    perturbed: Perturbed | None = None,
    rounded: torch.dtype | None = None,
) -> Tensor:
    """Draw with `pprs.smoothing.native.cuda_triton.normal`."""
    starts, samples, count = segments.starts.contiguous(), segments.samples, segments.count
    pieces = starts.shape[1]
    out = starts.new_empty((samples, pieces, count), dtype=rounded or dtype)
    if out.numel() == 0:
        return out
    base, scale = (None, None) if perturbed is None else (perturbed.base, perturbed.scale)
    wide = dtype == torch.float64
    # A segment may begin anywhere in a group of 16 blocks.
    blocks = (count // (32 if wide else 64) + 2) * 16
    tiles = -(-blocks // _TILE)
    kernel[(samples * pieces * tiles,)](
        out,
        out if base is None else base.contiguous().resolve_neg(),
        out if scale is None else scale.contiguous(),
        starts,
        *addressed(key, out),
        role,
        count,
        pieces,
        pieces if len(starts) > 1 else 0,
        segments.first,
        segments.share,
        bits(1.0 if perturbed is None else perturbed.sigma),
        1 if scale is None else count // max(scale.numel(), 1),
        tiles,
        BASE=base is not None,
        SCALE=scale is not None,
        WIDE=wide,
        TILE=_TILE,
    )
    return out


def addressed(key: int | Key, other: Tensor) -> tuple[int, Tensor, int]:
    """A key for a kernel: itself, or its place in a table, with whether it is one.

    Args:
        key: of a stream.
        other: a tensor for where the kernel will not look.
    """
    return (key.place, key.keys.table, 1) if isinstance(key, Key) else (key, other, 0)


def several(
    keys: Sequence[int | Key],
    role: int,
    bases: Sequence[Tensor],
    sigmas: Sequence[float],
    scales: Sequence[Tensor | None],
    samples: int,
    share: int,
) -> list[Tensor] | None:
    """As `pprs.smoothing.native.kernels.several`, in float32, with scales of one number each."""
    if _kernel() is None:
        return None
    return launch_several(keys, role, bases, sigmas, scales, samples, share)


def launch_several(
    keys: Sequence[int | Key],
    role: int,
    bases: Sequence[Tensor],
    sigmas: Sequence[float],
    scales: Sequence[Tensor | None],
    samples: int,
    share: int,
) -> list[Tensor]:
    """Draw with `pprs.smoothing.native.cuda_triton.several`."""
    from pprs.smoothing.native import cuda_triton

    counts, shapes = [base.numel() for base in bases], [base.shape for base in bases]
    starts = itertools.accumulate(counts, initial=0)
    base = torch.cat([one.reshape(-1) for one in bases])
    places = [key.place if isinstance(key, Key) else place for place, key in enumerate(keys)]
    rows = zip(starts, counts, places, map(bits, sigmas), strict=False)
    table = _on_device(tuple(number for row in rows for number in row), base.device)
    recorded = [key.keys.table for key in keys if isinstance(key, Key)]
    given = [scale for scale in scales if scale is not None]
    out = base.new_empty(samples * len(base))
    tiles = -(-max(counts) // (4 * _TILE))
    cuda_triton.several[(len(counts) * samples * tiles,)](
        *(out, base, torch.cat(given) if given else base, int(bool(given)), table),
        recorded[0] if recorded else _sent([key for key in keys if isinstance(key, int)], base),
        *(role, samples, share, tiles),
        TILE=_TILE,
    )
    blocks = torch.split_with_sizes(out, [samples * count for count in counts])
    # As `.data`, or a change of one in place would look like one of all.
    return [block.view(samples, *shape).data for block, shape in zip(blocks, shapes, strict=True)]


@functools.lru_cache(maxsize=256)
def _on_device(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Integers that each pass of a model needs."""
    return torch.tensor(numbers, dtype=torch.int64, device="cpu").to(device)


def _sent(numbers: Sequence[int], like: Tensor) -> Tensor:
    """Integers on a device, for which the host does not wait until that is idle."""
    table = torch.tensor(numbers, dtype=torch.int64, device="cpu")
    return table.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else table


def bits(number: float) -> int:
    """A number as an integer of the same 64 bits: Triton would take a float for a float32.

    0 is given as -0: an integer of 32 bits would be another type, for which it compiles anew.
    """
    bits: int = struct.unpack("<q", struct.pack("<d", number or -0.0))[0]
    return bits


@functools.cache
def _kernel() -> Any:
    try:
        from pprs.smoothing.native.cuda_triton import normal
    except ImportError:
        return None
    return normal
