"""The kernels that `pprs.smoothing.native.cuda_rows` launches: what rows.h does, a stream each.

Rows are padded to P, a power of two; what is beyond the n or q that there are is a row of zeros,
which meets no other. Importing this takes Triton.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from pprs.smoothing.native.cuda_triton import box_muller, found, real, words

# What is not to be compiled for: whatever differs between layers, batches and steps.
_FORWARD = ["own", "n", "width", "outputs", "pairs", "jitter", "key", "role", "sigma", "scaled"]
_FORWARD += ["listed"]
_FORWARD += ["biased", "bias_scaled", "bias_sigma", "bias_key", "bias_role", "each"]
_BACKWARD = ["q", "n", "outputs", "width", "pairs", "jitter", "spread", "key", "listed"]
_BACKWARD += ["role", "residual"]


@triton.jit(do_not_specialize=_FORWARD)
def forward(  # noqa: D103
    rows,
    own,
    n,
    width,
    outputs,
    pairs,
    jitter,
    key,
    keys,
    listed,
    role,
    sigma,
    scale,
    scaled,
    bias,
    biased,
    bias_scale,
    bias_scaled,
    bias_sigma,
    bias_key,
    bias_role,
    each,
    lower,
    inverse,
    lengths,
    normals,
    noisy,
    P: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    stream, piece = tl.program_id(0).to(tl.int64), tl.program_id(1)
    number = stream * own  # 0 where all streams have the same rows
    key = found(key, keys, listed)
    bias_key = found(bias_key, keys, listed)
    line = tl.arange(0, P)
    root, length = _root(rows + number * n * width, n, width, jitter, pairs, P, COLUMNS)
    if piece == 0:
        square = line[:, None] * n + line[None, :]
        inside = (line[:, None] < n) & (line[None, :] < n)
        tl.store(lower + number * n * n + square, root, inside)
        tl.store(inverse + number * n * n + square, _inverse(root, length, n, P), inside)
        tl.store(lengths + number * n + line, length, line < n)
    column = piece * COLUMNS + tl.arange(0, COLUMNS)
    there = column < outputs
    mix = (real(sigma) * length[:, None] * root).to(tl.float32)
    total = tl.zeros([P, COLUMNS], tl.float32)
    normals += stream * n * outputs
    noisy += stream * n * outputs
    c = 0
    while c < n:
        drawn = _normals(key, stream, role, c * outputs + column)
        drawn = drawn.to(normals.dtype.element_ty)
        tl.store(normals + c * outputs + column, drawn, there)
        total += _column(mix, c, P)[:, None] * drawn.to(tl.float32)[None, :]
        c += 1
    total *= tl.load(scale + column, there & (scaled != 0), 1.0).to(tl.float32)[None, :]
    by = real(bias_sigma) * tl.load(bias_scale, bias_scaled != 0, 1.0).to(tl.float64)
    drawn = by.to(tl.float32) * _normals(bias_key, stream, bias_role, column)
    turned = tl.where(line // each % 2 == 0, 1.0, -1.0)
    base = tl.load(bias + column, there & (biased != 0), 0.0).to(tl.float32)
    total += base[None, :] + turned[:, None] * drawn[None, :]
    place = line[:, None] * outputs + column[None, :]
    tl.store(noisy + place, total.to(noisy.dtype.element_ty), (line[:, None] < n) & there[None, :])


@triton.jit(do_not_specialize=_BACKWARD)
def backward(  # noqa: D103, PLR0915
    left,
    rows,
    inverse,
    lengths,
    normals,
    q,
    n,
    outputs,
    width,
    pairs,
    jitter,
    spread,
    key,
    keys,
    listed,
    role,
    residual,
    out,
    P: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    stream, piece = tl.program_id(0).to(tl.int64), tl.program_id(1)
    line = tl.arange(0, P)
    key = found(key, keys, listed)
    left += stream * q * outputs
    rows += stream * n * width
    root, length = _root(left, q, outputs, jitter, pairs, P, COLUMNS)
    root *= length[:, None]
    reach = tl.load(lengths + stream * n + line, line < n, 0.0)
    unsize = tl.where(reach > 0, _signs(line, n, pairs) / tl.where(reach > 0, reach, 1.0), 0.0)
    inside = (line[:, None] < n) & (line[None, :] < n)
    square = stream * n * n + line[:, None] * n + line[None, :]
    back = tl.load(inverse + square, inside, 0.0)
    observed = _products(left, q, normals + stream * n * outputs, n, outputs, P, COLUMNS)
    observed *= _signs(line, q, pairs)[:, None]
    # What a sample U that knows nothing of S predicts of it.
    predicted = tl.zeros([P, P], tl.float64)
    c = 0
    while c < q:
        sums = tl.zeros([P, COLUMNS], tl.float64)
        first = 0
        while first < width:
            column = first + tl.arange(0, COLUMNS)
            there = (line[:, None] < n) & (column[None, :] < width)
            a = tl.load(rows + line[:, None] * width + column[None, :], there, 0.0).to(tl.float64)
            u = _normals(key, stream, role, c * width + column)
            sums += a * u.to(tl.float64)[None, :]
            first += COLUMNS
        predicted = tl.where(line[:, None] == c, tl.sum(sums, 1)[None, :], predicted)
        c += 1
    extra = _normals(key, stream, residual, line[:, None] * n + line[None, :])
    predicted = predicted * unsize[None, :] + extra.to(tl.float64) * real(spread)
    predicted = tl.where((line[:, None] < q) & (line[None, :] < n), predicted, 0.0)
    weights = observed - _matmul(_matmul(root, predicted, q, P), tl.trans(back), n, P)
    weights = _matmul(weights, back, n, P) * unsize[None, :]
    column = piece * COLUMNS + tl.arange(0, COLUMNS)
    there = column < width
    mix = root.to(tl.float32)
    total = tl.zeros([P, COLUMNS], tl.float32)
    c = 0
    while c < q:
        u = _normals(key, stream, role, c * width + column)
        total += _column(mix, c, P)[:, None] * u[None, :]
        c += 1
    # In double precision: large weights may cancel.
    known = tl.zeros([P, COLUMNS], tl.float64)
    c = 0
    while c < n:
        a = tl.load(rows + c * width + column, there, 0.0).to(tl.float64)
        known += _column(weights, c, P)[:, None] * a[None, :]
        c += 1
    place = stream * q * width + line[:, None] * width + column[None, :]
    total += known.to(tl.float32)
    tl.store(out + place, total.to(out.dtype.element_ty), (line[:, None] < q) & there[None, :])


@triton.jit
def _normals(key, stream, role, place):
    """Elements of a stream in float32, each by itself."""
    pair = place // 16 % 4
    a, b, c, d = words(key, (place // 64 * 16 + place % 16).to(tl.int64), stream, role)
    x, y = box_muller(tl.where(pair < 2, a, c), tl.where(pair < 2, b, d))
    return tl.where(pair % 2 == 0, x, y)


@triton.jit
def _signs(line, n, pairs):
    """The signs of n rows: those of the second sample of a pair are turned."""
    return tl.where((line >= n // 2) & (pairs != 0), -1.0, 1.0).to(tl.float64)


@triton.jit
def _column(x, c, P: tl.constexpr):
    """Column c of a square matrix."""
    return tl.sum(tl.where(tl.arange(0, P)[None, :] == c, x, 0.0), 1)


@triton.jit
def _row(x, c, P: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, P)[:, None] == c, x, 0.0), 0)


@triton.jit
def _matmul(x, y, count, P: tl.constexpr):
    """The product of square matrices, whose inner dimension is filled up to `count`."""
    total = tl.zeros([P, P], tl.float64)
    c = 0
    while c < count:
        total += _column(x, c, P)[:, None] * _row(y, c, P)[None, :]
        c += 1
    return total


@triton.jit
def _products(x, p, y, n, width, P: tl.constexpr, COLUMNS: tl.constexpr):
    """The products (p, n) of rows of x and of y, in double precision."""
    line = tl.arange(0, P)
    total = tl.zeros([P, P], tl.float64)
    c = 0
    while c < n:
        sums = tl.zeros([P, COLUMNS], tl.float64)
        first = 0
        while first < width:
            column = first + tl.arange(0, COLUMNS)
            there = column < width
            inside = (line[:, None] < p) & there[None, :]
            a = tl.load(x + line[:, None] * width + column[None, :], inside, 0.0).to(tl.float64)
            b = tl.load(y + c * width + column, there, 0.0).to(tl.float64)
            sums += a * b[None, :]
            first += COLUMNS
        total = tl.where(line[None, :] == c, tl.sum(sums, 1)[:, None], total)
        c += 1
    return total


@triton.jit
def _root(
    rows,
    n,
    width,
    jitter,
    pairs,
    P: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """U, the root of the Gram matrix of signed rows scaled to length 1, and the rows' lengths."""
    line = tl.arange(0, P)
    rest = _products(rows, n, rows, n, width, P, COLUMNS)
    length = tl.sqrt(tl.sum(tl.where(line[:, None] == line[None, :], rest, 0.0), 1))
    signed = length * _signs(line, n, pairs)
    by = signed[:, None] * signed[None, :]
    one = tl.where(line[:, None] == line[None, :], 1.0, 0.0).to(tl.float64)
    rest = tl.where(by != 0, rest / tl.where(by != 0, by, 1.0), one) + one * real(jitter)
    root = tl.zeros([P, P], tl.float64)
    c = 0
    while c < n:  # Cholesky, a column after the other
        column = _column(rest, c, P)
        pivot = tl.sqrt(tl.sum(tl.where(line == c, column, 0.0), 0))
        column = tl.where(line >= c, column / pivot, 0.0)
        root = tl.where(line[None, :] == c, column[:, None], root)
        rest -= column[:, None] * column[None, :]
        c += 1
    return root, length


@triton.jit
def _inverse(root, length, n, P: tl.constexpr):
    """The inverse of U, 0 for rows that are 0."""
    line = tl.arange(0, P)
    result = tl.zeros([P, P], tl.float64)
    c = 0
    while c < n:
        row = _row(root, c, P)
        pivot = tl.sum(tl.where(line == c, row, 0.0), 0)
        before = tl.where(line < c, row, 0.0)
        known = tl.sum(before[:, None] * result, 0)
        found = (tl.where(line == c, 1.0, 0.0) - known) / pivot
        result = tl.where(line[:, None] == c, found[None, :], result)
        c += 1
    alive = length > 0
    return tl.where(alive[:, None] & alive[None, :], result, 0.0)
