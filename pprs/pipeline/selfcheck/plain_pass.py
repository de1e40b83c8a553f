"""A forward and a backward pass of one batch through all stages, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

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
        outputs: Any = inputs
        value = None
        for number in range(len(self.owners)):
            if not self._owns(number):
                continue
            if number:
                arrived = self._arrived(number - 1, outputs)
            else:
                arrived = tuple(x.to(self.device) for x in inputs)
            outputs = self.stages[number](*(x.clone() for x in arrived))  # it may write into them
            ran[number] = arrived, outputs if isinstance(outputs, tuple) else (outputs,)
            if number + 1 < len(self.owners):
                self._send(ran[number][1], number + 1)
            else:
                value = loss(outputs)
            self.types.update(computed_in([*ran[number][1], value]))
        for number in reversed(range(len(self.owners))):
            if self._owns(number):
                self._backward(number, ran, value)
        last = self._owns(len(self.owners) - 1)
        return (outputs, value.detach()) if last and value is not None else (None, None)

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
            self._put(gradients, self.owners[number - 1])

    def _take_back(
        self, number: int, outputs: Tensors, ran: dict[int, tuple[Tensors, Tensors]]
    ) -> None:
        """Go back through a stage with the gradients that the next one has by its inputs."""
        needed = [x for x in outputs if x.requires_grad]
        if self._owns(number + 1):
            gradients = [x.grad for x in ran[number + 1][0] if x.requires_grad]
        else:
            gradients = self._get(self.owners[number + 1])
        pairs = [(x, g) for x, g in zip(needed, gradients, strict=True) if g is not None]
        if pairs:
            torch.autograd.backward([x for x, _ in pairs], [g for _, g in pairs])

    def _owns(self, number: int) -> bool:
        return self.owners[number] == dist.get_rank(self.group)

    def _arrived(self, number: int, outputs: Any) -> Tensors:
        """What a stage gave, as the leaves from which the next one goes on."""
        if self._owns(number):
            given = outputs if isinstance(outputs, tuple) else (outputs,)
            values = [(x.detach(), x.requires_grad) for x in given]
        else:
            tensors = self._get(self.owners[number])
            flags = self._get_object(self.owners[number])
            values = [(x, f) for x, f in zip(tensors, flags, strict=True) if x is not None]
        return tuple(x.requires_grad_(needed) for x, needed in values)

    def _send(self, values: Tensors, number: int) -> None:
        if self._owns(number):
            return
        self._put([x.detach() for x in values], self.owners[number])
        self._put_object([x.requires_grad for x in values], self.owners[number])

    def _put(self, values: list[Tensor | None], to: int) -> None:
        self._put_object([None if x is None else (tuple(x.shape), x.dtype) for x in values], to)
        for value in values:
            if value is not None:
                dist.send(value.contiguous(), group=self.group, group_dst=to)

    def _get(self, source: int) -> list[Tensor | None]:
        values: list[Tensor | None] = []
        for header in self._get_object(source):
            value = None
            if header is not None:
                value = torch.empty(header[0], dtype=header[1], device=self.device)
                dist.recv(value, group=self.group, group_src=source)
            values.append(value)
        return values

    def _put_object(self, value: object, to: int) -> None:
        dist.send_object_list([value], group=self.group, group_dst=to)

    def _get_object(self, source: int) -> Any:
        held: list[Any] = [None]
        dist.recv_object_list(held, group=self.group, group_src=source)
        return held[0]
