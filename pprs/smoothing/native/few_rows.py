"""The algebra of a few long rows at once: compiled for the CPU, in Triton for CUDA devices."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pprs.smoothing.native import cuda_rows, kernels


def takes(rows: Tensor) -> bool:
    """Whether there are kernels for rows `(..., n, i)`, of this type and on their device."""
    return kernels.takes(rows) or cuda_rows.takes(rows)


def forward(rows: Tensor, *args: Any) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """As `pprs.smoothing.native.kernels.forward`."""
    return (cuda_rows if rows.is_cuda else kernels).forward(rows, *args)


def backward(left: Tensor, *args: Any) -> Tensor:
    """As `pprs.smoothing.native.kernels.backward`."""
    return (cuda_rows if left.is_cuda else kernels).backward(left, *args)
