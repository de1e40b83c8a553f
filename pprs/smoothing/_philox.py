r"""Standard normals as a function of a key and a counter, in torch's own operations.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
turns a key of 64 bits and a counter of 128 into four words of 32 bits. Here the counter is (block,
stream, role): a stream for every perturbation and role, whose blocks can be computed in any
order. Box-Muller turns words into normals. `native/kernels.c` computes the same stream faster;
this file defines it, and takes its place where there is no compiler.

Blocks come in groups of 16, so that a vector of counters gives a run of elements: in float32, the
16 first words and the 16 second words of a group give elements 0-15 and 16-31, the others 32-63; in
float64 a normal takes twice the bits and a group gives 32 elements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pprs.smoothing.native.recording import Key

_BLOCKS = 16  # per group
_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Segments:
    """Which elements of which streams to draw.

    Args:
        starts: int64, shape `(1 or samples, segments)`, on the device to draw on: where in the
            stream of a sample each segment begins.
        count: elements per segment.
        samples: how many streams to read, one after the other.
        first: the stream of the first sample.
        share: the number of consecutive samples that read the same stream.
    """

    starts: Tensor
    count: int
    samples: int
    first: int = 0
    share: int = 1


def normals(key: int | Key, role: int, segments: Segments, dtype: torch.dtype) -> Tensor:
    """Draw segments of the streams of a key (64 bits) and a role (32 bits).

    Returns:
        Shape `(samples, segments, count)`, of `dtype`: `torch.float32` or `torch.float64`.
    """
    starts, count, samples = segments.starts, segments.count, segments.samples
    device, size = starts.device, _BLOCKS * (4 if dtype == torch.float32 else 2)
    pieces, each = starts.shape[1], count // size + 2
    groups = (starts // size)[:, :, None] + torch.arange(each, device=device)
    blocks = groups[..., None] * _BLOCKS + torch.arange(_BLOCKS, device=device)
    stream = segments.first + torch.arange(samples, device=device) // segments.share
    stream = stream[:, None, None, None]
    words = philox(key, (blocks & _WORD, blocks >> 32, stream, torch.full_like(stream, role)))
    drawn = torch.stack(_box_muller(words, dtype), dim=-2).reshape(samples, pieces, each * size)
    chosen = (starts % size)[:, :, None] + torch.arange(count, device=device)
    return drawn.gather(2, chosen.expand(samples, -1, -1))


def philox(key: int | Key, counter: tuple[Tensor, Tensor, Tensor, Tensor]) -> list[Tensor]:
    """The four output words, as int64 from 0 to 2^32 - 1, of counters given by their words."""
    a, b, c, d = torch.broadcast_tensors(*counter)  # type: ignore[no-untyped-call]
    number = key.tensor if isinstance(key, Key) else key
    k0, k1 = number & _WORD, number >> 32
    for _ in range(10):
        # A product of two words may wrap around int64's sign; its bits are right all the same.
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (
            (q >> 32 & _WORD) ^ b ^ k0,
            q & _WORD,
            (p >> 32 & _WORD) ^ d ^ k1,
            p & _WORD,
        )
        k0, k1 = k0 + 0x9E3779B9 & _WORD, k1 + 0xBB67AE85 & _WORD
    return [a, b, c, d]


def _box_muller(words: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    a, b, c, d = words
    if dtype == torch.float32:
        pairs = [(a >> 1, 31, b, 32), (c >> 1, 31, d, 32)]
    else:
        # 52 and 53 of the 64 bits, the higher ones from the second word.
        pairs = [(b << 20 | a >> 12, 52, d << 21 | c >> 11, 53)]
    drawn = []
    for first, bits, second, turn_bits in pairs:
        uniform = (first.double() + (0.25 if bits == 31 else 0.5)) * 2.0**-bits
        radius = (-2 * uniform.log()).sqrt()
        angle = second.double() * (2 * math.pi * 2.0**-turn_bits)
        drawn += [(radius * angle.cos()).to(dtype), (radius * angle.sin()).to(dtype)]
    return drawn
