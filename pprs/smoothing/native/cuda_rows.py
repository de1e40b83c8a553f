"""The algebra of a few long rows on a CUDA device, in one kernel each way.

In torch's own operations it takes some forty kernels for each linear map, and torch some
microseconds to start each of them.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from pprs.smoothing.native.cuda import addressed, bits
from pprs.smoothing.native.kernels import _NO_BIAS, Bias, Drawing

_FEW = 32
_TYPES = {torch.float32, torch.bfloat16, torch.float16}  # squares are in float64's range
_COLUMNS = 128  # that a program sums at a time, and of the result it computes


def takes(rows: Tensor) -> bool:
    """Whether these kernels take rows `(..., n, i)`: a few, on a CUDA device with Triton."""
    few = rows.is_cuda and rows.shape[-2] <= _FEW and rows.dtype in _TYPES
    return few and _kernels() is not None


def forward(
    rows: Tensor,
    signs: Tensor | None,
    bias: Bias | None,
    scale: Tensor | None,
    outputs: int,
    drawing: Drawing,
    streams: int,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """As `pprs.smoothing.native.kernels.forward`; signs are those of a pair, if there are any."""
    rows, (given, n, width) = _plain(rows), rows.shape
    bias = bias or _NO_BIAS
    lower = rows.new_empty((given, n, n), dtype=torch.float64)
    inverse = torch.empty_like(lower)
    lengths = rows.new_empty((given, n, 1), dtype=torch.float64)
    normals = rows.new_empty((streams, n, outputs))
    noisy = torch.empty_like(normals)
    _kernels().forward[(streams, -(-outputs // _COLUMNS))](
        *(rows, int(given > 1), n, width, outputs, int(signs is not None), bits(drawing.jitter)),
        *(*addressed(drawing.key, rows), drawing.roles[0], bits(drawing.sigma)),
        *(*_or(scale, rows), *_or(bias.value, rows), *_or(bias.scale, rows)),
        *(bits(bias.sigma), addressed(bias.key or drawing.key, rows)[0]),
        *(bias.role, n // bias.share),
        *(lower, inverse, lengths, normals, noisy),
        **_sizes(n),
    )
    return noisy, normals, (lower, inverse, lengths)


def backward(
    left: Tensor,
    left_signs: Tensor | None,
    known: tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor],
    spread: float,
    drawing: Drawing,
) -> Tensor:
    """As `pprs.smoothing.native.kernels.backward`; the result is in float32."""
    rows, _, inverse, lengths, normals = map(_plain, known)
    left, (streams, q, outputs), (n, width) = _plain(left), left.shape, rows.shape[1:]
    out = left.new_empty((streams, q, width), dtype=torch.float32)
    _kernels().backward[(streams, -(-width // _COLUMNS))](
        *(left, rows, inverse, lengths, normals, q, n, outputs, width),
        *(int(left_signs is not None), bits(drawing.jitter), bits(spread)),
        *(*addressed(drawing.key, rows), *drawing.roles, out),
        **_sizes(max(q, n)),
    )
    return out


def _plain(tensor: Any) -> Any:
    return None if tensor is None else tensor.contiguous().resolve_neg()


def _or(tensor: Tensor | None, other: Tensor) -> tuple[Tensor, int]:
    """A tensor for a kernel and whether it is one, or another where it will not look."""
    return (other, 0) if tensor is None else (_plain(tensor), 1)


def _sizes(n: int) -> dict[str, int]:
    padded = max(2, 1 << (n - 1).bit_length())
    return {"P": padded, "COLUMNS": _COLUMNS, "num_warps": 4 if padded <= 16 else 8}


@functools.cache
def _kernels() -> Any:
    try:
        from pprs.smoothing.native import cuda_rows_triton
    except ImportError:
        return None
    return cuda_rows_triton
