"""The device mesh: replicas of a pipeline, times the ranks of each.

Not torch's `DeviceMesh`: settings are checked against its shape before any process exists, and it
may lie on some ranks of the process group only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Mesh:
    """The shape of a device mesh: process i is rank `i % ranks` of replica `i // ranks`.

    Args:
        replicas: copies of the pipeline, which share the microbatches.
        ranks: processes of each copy.

    Example:
        >>> Mesh.of(processes=6, replicas=2)
        Mesh(replicas=2, ranks=3)
    """

    replicas: int
    ranks: int

    @classmethod
    def of(cls, processes: int, replicas: int) -> Mesh:
        """The mesh of these processes.

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
        """The ranks of this replica, and those with the same stages in all; a collective call."""
        if self.replicas == 1:
            return group, None
        everyone = dist.get_process_group_ranks(group or dist.group.WORLD)
        rows = [everyone[i * self.ranks : (i + 1) * self.ranks] for i in range(self.replicas)]
        columns = [list(column) for column in zip(*rows, strict=True)]
        return _own(rows), _own(columns)

    def average(
        self,
        parameters: Sequence[nn.Parameter],
        loss: Tensor | None,
        across: dist.ProcessGroup | None,
    ) -> None:
        """All-reduce gradients and the loss to their means over the replicas, type by type.

        A parameter that some replicas have not used has a gradient of 0 there, and none if no
        replica has used it.

        Args:
            parameters: of this process.
            loss: where there is one.
            across: the ranks with the same stages, if there are several replicas.
        """
        if across is None:
            return
        means = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        used = torch.tensor([float(p.grad is not None) for p in parameters], device="cpu")
        used = used.to(means[0]) if means else used
        self._average(
            [*means, *([] if loss is None else [loss]), *([used] if means else [])], across
        )
        for parameter, mean, share in zip(parameters, means, used.tolist(), strict=True):
            parameter.grad = mean if share > 0 else None

    def _average(self, tensors: Sequence[Tensor], across: dist.ProcessGroup) -> None:
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
