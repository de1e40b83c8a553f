"""A forward pass of one batch through the stages of all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist

from pprs.pipeline.communication import receive, send
from pprs.pipeline.stage_outputs import Tensors


def forward_pass(
    stages: Mapping[int, Callable[..., Any]],
    owners: list[int],
    inputs: Tensors,
    device: torch.device,
    group: dist.ProcessGroup | None,
) -> Any:
    """Run a batch through all stages; a collective call.

    Args:
        stages: those that this process holds, by number; all but the last give a tuple of tensors.
        owners: the process of each stage, as a rank in the group.
        inputs: what stage 0 takes, read by its owner.
        device: where this process computes.
        group: the processes.

    Returns:
        What the last stage gives, on its owner; `None` elsewhere.
    """
    rank = dist.get_rank(group)
    values = tuple(x.to(device) for x in inputs) if owners[0] == rank else ()
    for number, owner in enumerate(owners):
        if owner != rank:
            continue
        if number and owners[number - 1] != rank:
            values = receive(owners[number - 1], device, group)
        output = stages[number](*values)
        if number + 1 == len(owners):
            return output
        values = output
        if owners[number + 1] != rank:
            send(values, owners[number + 1], group)
    return None
