"""Objects, and tensors of any shapes and types, from one process to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def broadcast(value: object, source: int, group: dist.ProcessGroup | None = None) -> Any:
    """What a rank of the group passes, in all of them; a collective call."""
    shared = [value]
    dist.broadcast_object_list(shared, group=group, group_src=source)
    return shared[0]


def gathered(value: object, group: dist.ProcessGroup | None = None) -> list[Any]:
    """What each rank of the group passes, in all of them; a collective call."""
    everyone: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(everyone, value, group=group)
    return everyone


def send(values: Sequence[Tensor | None], to: int, group: dist.ProcessGroup | None) -> None:
    """Send values to a rank of the group, which calls `receive`."""
    headers = [None if x is None else (tuple(x.shape), x.dtype, x.requires_grad) for x in values]
    dist.send_object_list([headers], group=group, group_dst=to)
    for value in values:
        if value is not None:
            dist.send(value.detach().contiguous(), group=group, group_dst=to)


def receive(source: int, device: torch.device, group: dist.ProcessGroup | None) -> tuple[Any, ...]:
    """The values that a rank of the group sends: leaves that need a gradient if they do there."""
    headers: list[Any] = [None]
    dist.recv_object_list(headers, group=group, group_src=source)
    values: list[Tensor | None] = []
    for header in headers[0]:
        value = None
        if header is not None:
            value = torch.empty(header[0], dtype=header[1], device=device)
            dist.recv(value, group=group, group_src=source)
            value.requires_grad_(header[2])
        values.append(value)
    return tuple(values)
