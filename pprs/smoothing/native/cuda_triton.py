"""The kernel that `pprs.smoothing.native.cuda` launches; importing it takes Triton."""

# Triton reads the body as a language of its own, which knows no type annotations.
# mypy: ignore-errors

import math

import triton
import triton.language as tl

_GROUP = tl.constexpr(16)  # blocks, as in _philox.py
_TURN = tl.constexpr(2 * math.pi)
_QUARTER = tl.constexpr(math.pi / 2 * 2.0**-30)


@triton.jit(
    do_not_specialize=[
        *("key", "listed", "role", "count", "pieces", "own", "first", "share", "sigma", "inner"),
        "tiles",
    ]
)
def normal(  # noqa: D103
    out,
    base,
    scale,
    starts,
    key,
    keys,
    listed,
    role,
    count,
    pieces,
    own,
    first,
    share,
    sigma,
    inner,
    tiles,
    BASE: tl.constexpr,
    SCALE: tl.constexpr,
    WIDE: tl.constexpr,
    TILE: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    key = found(key, keys, listed)
    row, tile = program // tiles, program % tiles
    sample, piece = row // pieces, row % pieces
    start = tl.load(starts + sample * own + piece)
    size: tl.constexpr = 32 if WIDE else 64
    block = start // size * _GROUP + tile * TILE + tl.arange(0, TILE)
    a, b, c, d = words(key, block, first + sample // share, role)
    # Where the first normal of a block lies in the segment; the others are 16 apart.
    place = block // _GROUP * size + block % _GROUP - start
    by = real(sigma)
    by = tl.where(sample % share == 0, by, -by)
    out += row * count
    if WIDE:
        # 52 and 53 of the 64 bits, the higher ones from the second word.
        first_bits = (b.to(tl.int64) << 20) | (a.to(tl.int64) >> 12)
        turn_bits = (d.to(tl.int64) << 21) | (c.to(tl.int64) >> 11)
        radius = tl.sqrt(-2.0 * tl.log((first_bits.to(tl.float64) + 0.5) * 2.0**-52))
        turn = turn_bits.to(tl.float64) * 2.0**-53 * _TURN
        _store(out, base, place, count, radius * tl.cos(turn), by, BASE, scale, inner, SCALE)
        _store(
            out, base, place + _GROUP, count, radius * tl.sin(turn), by, BASE, scale, inner, SCALE
        )
    else:
        x, y = box_muller(a, b)
        _store(out, base, place, count, x, by, BASE, scale, inner, SCALE)
        _store(out, base, place + _GROUP, count, y, by, BASE, scale, inner, SCALE)
        x, y = box_muller(c, d)
        _store(out, base, place + 2 * _GROUP, count, x, by, BASE, scale, inner, SCALE)
        _store(out, base, place + 3 * _GROUP, count, y, by, BASE, scale, inner, SCALE)


@triton.jit(do_not_specialize=["scaled", "role", "samples", "share", "tiles"])
def several(  # noqa: D103
    out, base, scale, scaled, table, keys, role, samples, share, tiles, TILE: tl.constexpr
):
    program = tl.program_id(0).to(tl.int64)
    row, tile = program // tiles, program % tiles
    member, sample = row // samples, row % samples
    table += member * 4
    start, count = tl.load(table), tl.load(table + 1)
    by = real(tl.load(table + 3)) * tl.load(scale + member, scaled != 0, 1.0).to(tl.float64)
    by = tl.where(sample % share == 0, by, -by)
    block = tile * TILE + tl.arange(0, TILE)
    a, b, c, d = words(tl.load(keys + tl.load(table + 2)), block, sample // share, role)
    place = block // _GROUP * 64 + block % _GROUP
    out += start * samples + sample * count
    base += start
    x, y = box_muller(a, b)
    _store(out, base, place, count, x, by, True, scale, 1, False)
    _store(out, base, place + _GROUP, count, y, by, True, scale, 1, False)
    x, y = box_muller(c, d)
    _store(out, base, place + 2 * _GROUP, count, x, by, True, scale, 1, False)
    _store(out, base, place + 3 * _GROUP, count, y, by, True, scale, 1, False)


@triton.jit
def found(key, keys, listed):
    """A key, or the one at this place of a list."""
    key = tl.cast(key, tl.int64)
    at = keys.to(tl.pointer_type(tl.int64)) + tl.where(listed != 0, key, 0)
    return tl.where(listed != 0, tl.load(at, listed != 0, 0), key)


@triton.jit
def words(key, block, stream, role):
    """The four words of blocks of a stream."""
    none = tl.zeros_like(block).to(tl.uint32)
    low, high = block.to(tl.uint32), (block >> 32).to(tl.uint32)
    return tl.philox(tl.cast(key, tl.int64), low, high, none + stream.to(tl.uint32), none + role)


@triton.jit
def real(bits):
    """A number from its bits: Triton would take a Python float for a float32."""
    return tl.cast(bits, tl.int64).to(tl.float64, bitcast=True)


@triton.jit
def box_muller(first, second):
    """Two normals in float32 from two words, by the series that kernels.c has.

    In float64 they would take twice as long on the cards that have it, many times on the others.
    """
    uniform = (first >> 1).to(tl.int32).to(tl.float32) * 2.0**-31 + 2.0**-33
    uniform = tl.minimum(uniform, 1.0)
    bits = uniform.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F3504F3) >> 23
    m = (bits - (exponent << 23)).to(tl.float32, bitcast=True)
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    series = 1.0 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9))))
    log = exponent.to(tl.float32) * 0.693147180559945 + 2.0 * s * series
    radius = tl.sqrt(-2.0 * log)
    # The nearest quarter turn, and the angle from it.
    quarter = (second + 0x20000000) >> 30
    t = (second - (quarter << 30)).to(tl.int32, bitcast=True).to(tl.float32) * _QUARTER
    q = t * t
    cos = 1.0 + q * (-1.0 / 2 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320))))
    sin = t * (1.0 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040))))
    odd = (quarter & 1) != 0
    x, y = tl.where(odd, sin, cos), tl.where(odd, cos, sin)
    x = tl.where(((quarter + 1) & 2) != 0, -x, x)
    y = tl.where((quarter & 2) != 0, -y, y)
    return radius * x, radius * y


@triton.jit
def _store(
    out, base, place, count, drawn, by, BASE: tl.constexpr, scale, inner, SCALE: tl.constexpr
):
    inside = (place >= 0) & (place < count)
    if SCALE:
        drawn *= tl.load(scale + place // inner, inside, 0.0)
    if BASE:
        drawn = tl.load(base + place, inside, 0.0) + by.to(drawn.dtype) * drawn
    tl.store(out + place, drawn.to(out.dtype.element_ty), inside)
