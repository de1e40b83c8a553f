"""A forward and a backward pass of one batch through all stages, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.pipeline.communication import receive, send
from pprs.pipeline.forward_pass import forward_pass
from pprs.pipeline.selfcheck.rounding import computed_in

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class PlainPass:
    """The stages run one after the other: the reference for schedules.

    Args:
        stages: those of this process, by number.
        owners: the process of each stage, as a rank in the group.
        device: where this process computes.
        group: the processes of the copy.

    Attributes:
        types: in which they have computed.
    """

    stages: Mapping[int, nn.Module]
    owners: list[int]
    device: torch.device
    group: dist.ProcessGroup | None
    types: set[torch.dtype] = field(default_factory=set)

    def gradient(self, inputs: Tensors, loss: Callable[[Any], Tensor]) -> tuple[Any, Tensor | None]:
        """Add the gradient of a batch to `.grad`; a collective call.

        Args:
            inputs: what the first stage takes.
            loss: of what the last stage gives.

        Returns:
            The outputs and the loss on the last stage; `None` elsewhere.
        """
        ran: dict[int, tuple[Tensors, Tensors]] = {}
        last = len(self.owners) - 1
        value = None

        def run(number: int, *values: Tensor) -> Any:
            nonlocal value
            arrived = tuple(x.detach().requires_grad_(x.requires_grad) for x in values)
            outputs = self.stages[number](*(x.clone() for x in arrived))  # it may write into them
            given = outputs if isinstance(outputs, tuple) else (outputs,)
            ran[number] = arrived, given
            if number == last:
                value = loss(outputs)
            self.types.update(computed_in([*given, value]))
            return outputs if number == last else given

        stages = {number: partial(run, number) for number in self.stages}
        outputs = forward_pass(stages, self.owners, inputs, self.device, self.group)
        for number in reversed(range(len(self.owners))):
            if self._owns(number):
                self._backward(number, ran, value)
        return (outputs, None) if value is None else (outputs, value.detach())

    def _backward(
        self, number: int, ran: dict[int, tuple[Tensors, Tensors]], value: Tensor | None
    ) -> None:
        arrived, outputs = ran[number]
        if number + 1 == len(self.owners):
            assert value is not None
            if value.requires_grad:
                value.backward()  # type: ignore[no-untyped-call]
        else:
            self._take_back(number, outputs, ran)
        if number and not self._owns(number - 1):
            gradients = [x.grad for x in arrived if x.requires_grad]
            send(gradients, self.owners[number - 1], self.group)

    def _take_back(
        self, number: int, outputs: Tensors, ran: dict[int, tuple[Tensors, Tensors]]
    ) -> None:
        """Go back through a stage with the gradients that the next one has by its inputs."""
        needed = [x for x in outputs if x.requires_grad]
        if self._owns(number + 1):
            gradients = [x.grad for x in ran[number + 1][0] if x.requires_grad]
        else:
            gradients = [*receive(self.owners[number + 1], self.device, self.group)]
        pairs = [(x, g) for x, g in zip(needed, gradients, strict=True) if g is not None]
        if pairs:
            torch.autograd.backward([x for x, _ in pairs], [g for _, g in pairs])

    def _owns(self, number: int) -> bool:
        return self.owners[number] == dist.get_rank(self.group)
