"""Processes in two dimensions: copies of a pipeline, and the processes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Which process belongs to which copy.

    Args:
        replicas: copies of the pipeline.
        ranks: processes of each copy; process i is number ``i % ranks`` of copy ``i // ranks``.
    """

    replicas: int
    ranks: int

    @classmethod
    def of(cls, processes: int, replicas: int) -> Grid:
        """So many copies on so many processes.

        Raises:
            ValueError: if the processes cannot be divided evenly.
        """
        if not isinstance(replicas, int) or replicas < 1 or processes % replicas:
            raise ValueError(
                f"replicas must divide the number of processes, {processes}: got {replicas!r}"
            )
        return cls(replicas, processes // replicas)

    def groups(
        self, group: dist.ProcessGroup | None
    ) -> tuple[dist.ProcessGroup | None, dist.ProcessGroup | None]:
        """The processes of this one's copy, and its like in all copies; a collective call."""
        if self.replicas == 1:
            return group, None
        everyone = dist.get_process_group_ranks(group or dist.group.WORLD)
        rows = [everyone[i * self.ranks : (i + 1) * self.ranks] for i in range(self.replicas)]
        columns = [list(column) for column in zip(*rows, strict=True)]
        return _own(rows), _own(columns)

    def average(self, tensors: Sequence[Tensor], across: dist.ProcessGroup | None) -> None:
        """Put the mean over all copies into tensors, in one message for each type."""
        if across is None:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            some = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in some])
            dist.all_reduce(flat, group=across)
            flat /= self.replicas
            means = torch.split(flat, [tensor.numel() for tensor in some])
            for tensor, mean in zip(some, means, strict=True):
                tensor.copy_(mean.view_as(tensor))


def _own(partition: list[list[int]]) -> dist.ProcessGroup | None:
    """Make a group of each list of processes; the one that this process is in."""
    own, _ = dist.new_subgroups_by_enumeration(partition)  # type: ignore[no-untyped-call]
    group: dist.ProcessGroup | None = own
    return group
