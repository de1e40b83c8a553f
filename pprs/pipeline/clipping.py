"""The norm of the gradients of all stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def clip(
    gradients: Sequence[Tensor],
    counted: Sequence[Tensor],
    max_norm: float,
    device: torch.device,
    group: dist.ProcessGroup | None,
) -> float:
    """Scale gradients down to a norm over all ranks, which is returned; a collective call.

    Args:
        gradients: of this rank.
        counted: those of them that no other rank has, too, or this one counts.
        max_norm: the largest norm.
        device: where this rank computes.
        group: the ranks.

    Raises:
        ValueError: if `max_norm` is not above 0.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm!r}")
    wide = [g.to(torch.complex128 if g.is_complex() else torch.float64) for g in counted]
    squares = [(g.abs() if g.is_complex() else g).square().sum() for g in wide]
    none = torch.zeros((), dtype=torch.float64, device="cpu")
    norm = total(torch.stack(squares).sum() if squares else none, device, group).sqrt().item()
    if norm > max_norm:
        torch._foreach_mul_(list(gradients), max_norm / norm)
    return norm


def total(values: Tensor, device: torch.device, group: dist.ProcessGroup | None) -> Tensor:
    """The sums of values over all ranks; a collective call."""
    sums = values.to(device, copy=True)
    dist.all_reduce(sums, group=group)
    return sums.to(values.device)
