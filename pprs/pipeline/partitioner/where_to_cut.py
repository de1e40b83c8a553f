"""Where a chain is cut: by hand, or balanced by parameters or measured time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch.distributed as dist
from torch import Tensor

from pprs.pipeline.communication import broadcast
from pprs.pipeline.partitioner.chain import Chain
from pprs.pipeline.partitioner.costs import measure
from pprs.pipeline.partitioner.partition import Memory, partition, partition_at

Balance: TypeAlias = Literal["parameters", "time"]
"""What stages should have equally much of."""


def cut_chain(
    whole: Chain,
    stages: int,
    *,
    example: Sequence[Tensor | Mapping[str, Any]] = (),
    balance: Balance = "parameters",
    cut: Sequence[str | int] | None = None,
    memory: Memory | None = None,
    group: dist.ProcessGroup | None = None,
) -> list[range]:
    """The layers of each stage, the same in all processes; a collective call.

    Args:
        whole: the chain.
        stages: their number.
        example: what the network takes; needed to measure times.
        balance: what is to be equal among the stages.
        cut: the first layer of each stage but the first, by name or number, instead.
        memory: what a stage may keep; with `balance="time"`.
        group: the processes; all by default.

    Raises:
        ValueError: if there are too few places to cut, or the arguments do not fit.

    Example:
        >>> import torch
        >>> from pprs.pipeline import chain
        >>> layers = [torch.nn.Linear(8, 8) for _ in range(6)]
        >>> cut_chain(chain(torch.nn.Sequential(*layers)), stages=3)
        [range(0, 2), range(2, 4), range(4, 6)]
    """
    if cut is None and len(whole) < stages and whole.largest > 1:
        raise ValueError(
            f"a network of {len(whole)} layers can be cut into 1 to {len(whole)} stages, got "
            f"{stages}: cut it finer, chain(model, *example, largest=1)"
        )
    if memory is not None and (cut is not None or balance != "time"):
        raise ValueError(
            "memory is measured together with time: it needs balance='time' and no cut"
        )
    if cut is not None:
        if len(cut) != stages - 1:
            raise ValueError(
                f"cut names where the second and every later stage begins: {stages} stages have "
                f"{stages - 1} of these, got {len(cut)}: {cut!r}"
            )
        return partition_at(whole.layers, cut)
    if balance == "parameters":
        sizes = [sum(p.numel() for p in piece.parameters()) for piece in whole]
        return partition(sizes, stages)
    if balance != "time":
        raise ValueError(f"balance must be 'parameters' or 'time', got {balance!r}")
    if not example:
        raise ValueError("balance='time' measures the network on an example: pass example=")
    # One measures for all, who must cut alike.
    measured = broadcast(measure(whole, *example) if dist.get_rank(group) == 0 else None, 0, group)
    return partition(measured, stages, memory=memory)
