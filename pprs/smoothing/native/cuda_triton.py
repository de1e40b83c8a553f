"""The kernel that `pprs.smoothing.native.cuda` launches; importing it takes Triton."""

# Triton reads the body as a language of its own, which knows no type annotations.
# mypy: ignore-errors

import math

import triton
import triton.language as tl

_GROUP = tl.constexpr(16)  # blocks, as in _philox.py
_TURN = tl.constexpr(2 * math.pi)


@triton.jit(
    do_not_specialize=["key", "role", "count", "pieces", "own", "first", "share", "sigma", "tiles"]
)
def normal(  # noqa: D103
    out,
    base,
    starts,
    key,
    role,
    count,
    pieces,
    own,
    first,
    share,
    sigma,
    tiles,
    BASE: tl.constexpr,
    WIDE: tl.constexpr,
    TILE: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    row, tile = program // tiles, program % tiles
    sample, piece = row // pieces, row % pieces
    start = tl.load(starts + sample * own + piece)
    size: tl.constexpr = 32 if WIDE else 64
    block = start // size * _GROUP + tile * TILE + tl.arange(0, TILE)
    none = tl.zeros_like(block).to(tl.uint32)
    stream = none + (first + sample // share).to(tl.uint32)
    low, high = block.to(tl.uint32), (block >> 32).to(tl.uint32)
    a, b, c, d = tl.philox(tl.cast(key, tl.int64), low, high, stream, none + role)
    # Where the first normal of a block lies in the segment; the others are 16 apart.
    place = block // _GROUP * size + block % _GROUP - start
    by = tl.cast(sigma, tl.int64).to(tl.float64, bitcast=True)
    by = tl.where(sample % share == 0, by, -by)
    out += row * count
    if WIDE:
        # 52 and 53 of the 64 bits, the higher ones from the second word.
        first_bits = (b.to(tl.int64) << 20) | (a.to(tl.int64) >> 12)
        turn_bits = (d.to(tl.int64) << 21) | (c.to(tl.int64) >> 11)
        x, y = _box_muller(
            (first_bits.to(tl.float64) + 0.5) * 2.0**-52, turn_bits.to(tl.float64) * 2.0**-53
        )
        _store(out, base, place, count, x, by, BASE)
        _store(out, base, place + _GROUP, count, y, by, BASE)
    else:
        x, y = _box_muller(((a >> 1).to(tl.float64) + 0.25) * 2.0**-31, b.to(tl.float64) * 2.0**-32)
        _store(out, base, place, count, x, by, BASE)
        _store(out, base, place + _GROUP, count, y, by, BASE)
        x, y = _box_muller(((c >> 1).to(tl.float64) + 0.25) * 2.0**-31, d.to(tl.float64) * 2.0**-32)
        _store(out, base, place + 2 * _GROUP, count, x, by, BASE)
        _store(out, base, place + 3 * _GROUP, count, y, by, BASE)


@triton.jit
def _box_muller(uniform, turn):
    radius = tl.sqrt(-2.0 * tl.log(uniform))
    return radius * tl.cos(turn * _TURN), radius * tl.sin(turn * _TURN)


@triton.jit
def _store(out, base, place, count, drawn, by, BASE: tl.constexpr):
    inside = (place >= 0) & (place < count)
    drawn = drawn.to(out.dtype.element_ty)
    if BASE:
        drawn = tl.load(base + place, inside, 0.0) + by.to(out.dtype.element_ty) * drawn
    tl.store(out + place, drawn, inside)
