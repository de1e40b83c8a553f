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
    if rows.is_cuda:
        return cuda_rows.forward(rows, *args)
    return kernels.forward(rows, *args)


def backward(left: Tensor, *args: Any) -> Tensor:
    """As `pprs.smoothing.native.kernels.backward`."""
    if left.is_cuda:
        return cuda_rows.backward(left, *args)
    return kernels.backward(left, *args)
