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

_TILE = 256  # blocks of four words that a program computes


def normals(
    key: int,
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
    key: int,
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
        key,
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


def several(
    keys: Sequence[int], role: int, perturbed: Sequence[Perturbed], samples: int, share: int
) -> list[Tensor] | None:
    """As `pprs.smoothing.native.kernels.several`, in float32, with scales of one number each."""
    return None if _kernel() is None else launch_several(keys, role, perturbed, samples, share)


def launch_several(
    keys: Sequence[int], role: int, perturbed: Sequence[Perturbed], samples: int, share: int
) -> list[Tensor]:
    """Draw with `pprs.smoothing.native.cuda_triton.several`."""
    from pprs.smoothing.native import cuda_triton

    counts = [what.base.numel() for what in perturbed]
    starts = itertools.accumulate(counts, initial=0)
    table = torch.tensor(
        [
            (start, count, key, bits(what.sigma))
            for start, count, key, what in zip(starts, counts, keys, perturbed, strict=False)
        ],
        dtype=torch.int64,
        device="cpu",
    )
    base = torch.cat([what.base.reshape(-1) for what in perturbed])
    scales = [what.scale for what in perturbed if what.scale is not None]
    if base.is_cuda:  # else the host would wait until the device is idle
        table = table.pin_memory().to(base.device, non_blocking=True)
    out = base.new_empty(samples * len(base))
    tiles = -(-max(counts) // (4 * _TILE))
    cuda_triton.several[(len(counts) * samples * tiles,)](
        *(out, base, torch.stack(scales) if scales else base, int(bool(scales)), table),
        *(role, samples, share, tiles),
        TILE=_TILE,
    )
    blocks = torch.split_with_sizes(out, [samples * count for count in counts])
    # As `.data`, or a change of one in place would look like one of all.
    return [
        block.view(samples, *what.base.shape).data
        for block, what in zip(blocks, perturbed, strict=True)
    ]


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
