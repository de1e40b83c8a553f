"""The norm of the gradients of all stages."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def clip(
    gradients: list[Tensor],
    max_norm: float,
    device: torch.device,
    group: dist.ProcessGroup | None,
) -> float:
    """Scale gradients down to a norm over all ranks, which is returned; a collective call.

    Raises:
        ValueError: if `max_norm` is not above 0.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm!r}")
    wide = [g.to(torch.complex128 if g.is_complex() else torch.float64) for g in gradients]
    squares = [(g.abs() if g.is_complex() else g).square().sum() for g in wide]
    none = torch.zeros((), dtype=torch.float64, device="cpu")
    norm = total(torch.stack(squares).sum() if squares else none, device, group).sqrt().item()
    if norm > max_norm:
        torch._foreach_mul_(gradients, max_norm / norm)
    return norm


def total(values: Tensor, device: torch.device, group: dist.ProcessGroup | None) -> Tensor:
    """The sums of values over all ranks; a collective call."""
    sums = values.to(device, copy=True)
    dist.all_reduce(sums, group=group)
    return sums.to(values.device)
