"""Parameters that several processes hold, since layers of several stages share them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.pipeline.communication import receive, send
from pprs.pipeline.partitioner import Chain, full_names
from pprs.pipeline.stage import PerturbedStage


@dataclass(frozen=True)
class Tied:
    """The tied parameters of a copy, of which each process that needs one holds a copy.

    These get the same gradient, the sum of all, so that the same optimizer keeps them equal. The
    first holder, that of the earliest stage, is the owner: it counts and saves the parameter.

    Args:
        holders: the processes that hold each, as ranks in the group, by its name.
        here: those that this process holds, by name.
        device: where it computes.
        group: the processes of the copy.
    """

    holders: Mapping[str, tuple[int, ...]]
    here: Mapping[str, nn.Parameter]
    device: torch.device
    group: dist.ProcessGroup | None

    @classmethod
    def of(
        cls,
        whole: Chain,
        pieces: Sequence[range],
        owners: Sequence[int],
        local: Mapping[int, PerturbedStage],
        device: torch.device,
        group: dist.ProcessGroup | None,
    ) -> Tied:
        """Those of a network.

        Args:
            whole: its chain.
            pieces: of each stage, their numbers in the chain.
            owners: the process of each stage, as a rank in the group.
            local: the stages of this process.
            device: where it computes.
            group: the processes of the copy.
        """
        holders: defaultdict[str, dict[int, None]] = defaultdict(dict)
        for piece, owner in zip(pieces, owners, strict=True):
            for name in full_names(Chain(*(whole[i] for i in piece))):
                holders[name][owner] = None
        several = {name: tuple(ranks) for name, ranks in holders.items() if len(ranks) > 1}
        own = {n: p for stage in local.values() for n, p in stage.all_parameters().items()}
        return cls(several, {n: own[n] for n in several if n in own}, device, group)

    def owned(self, name: str) -> bool:
        """Whether this process counts and saves a parameter that it holds."""
        return self.holders.get(name, (self._rank,))[0] == self._rank

    @torch.no_grad()
    def add_up(self) -> None:
        """Leave in `.grad` of each copy the sum of all; a collective call of the holders."""
        together: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
        for name, ranks in self.holders.items():
            together[ranks].append(name)
        for (owner, *others), names in together.items():  # in the same order everywhere
            if self._rank not in (owner, *others):
                continue
            parameters = [self.here[name] for name in names]
            sums = tuple(map(_dense, parameters))
            if self._rank == owner:
                for other in others:
                    more = receive(other, self.device, self.group)
                    sums = tuple(_sum(a, b) for a, b in zip(sums, more, strict=True))
                for other in others:
                    send(sums, other, self.group)
            else:
                send(sums, owner, self.group)
                sums = receive(owner, self.device, self.group)
            for parameter, gradient in zip(parameters, sums, strict=True):
                parameter.grad = gradient

    @property
    def _rank(self) -> int:
        return dist.get_rank(self.group)


def _dense(parameter: nn.Parameter) -> Tensor | None:
    """Its gradient, in the same order of memory in all processes, which optimizers may round by."""
    if parameter.grad is None or not parameter.requires_grad:
        return None
    gradient = parameter.grad
    return (gradient.to_dense() if gradient.is_sparse else gradient).contiguous()


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
