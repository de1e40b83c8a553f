"""One forward pass through all stages, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def relay(
    stages: Mapping[int, Callable[[Tensor], Tensor]],
    owners: list[int],
    x: Tensor,
    device: torch.device,
    group: dist.ProcessGroup | None,
) -> Tensor | None:
    """Hand a batch from stage to stage; a collective call.

    Args:
        stages: those that this process holds, by number.
        owners: the process of each stage, as a rank in the group.
        x: the input of stage 0, read by its owner.
        device: where this process computes.
        group: the processes.

    Returns:
        The output of the last stage, on its owner.
    """
    rank = dist.get_rank(group)
    value: Tensor | None = x.to(device) if owners[0] == rank else None
    for number, owner in enumerate(owners):
        if owner == rank:
            if value is None:
                value = _receive(owners[number - 1], device, group)
            value = stages[number](value)
        following = owners[number + 1] if number + 1 < len(owners) else rank
        if owner == rank and following != rank:
            assert value is not None
            _send(value, following, group)
            value = None
    return value if owners[-1] == rank else None


def _send(value: Tensor, to: int, group: dist.ProcessGroup | None) -> None:
    header: list[Any] = [(tuple(value.shape), value.dtype)]
    dist.send_object_list(header, group=group, group_dst=to)
    dist.send(value.contiguous(), group=group, group_dst=to)


def _receive(source: int, device: torch.device, group: dist.ProcessGroup | None) -> Tensor:
    header: list[Any] = [None]
    dist.recv_object_list(header, group=group, group_src=source)
    shape, dtype = header[0]
    value = torch.empty(shape, dtype=dtype, device=device)
    dist.recv(value, group=group, group_src=source)
    return value
