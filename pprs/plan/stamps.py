"""Stamps of the time at which the parts of a pass begin."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.func import debug_unwrap

from pprs.pipeline import Chain
from pprs.pipeline.partitioner.layer_outputs import called

AROUND = -1
"""What a stage does besides its layers, in the place of a piece's number."""


@dataclass
class Stamps:
    """When the parts of passes began, and what they give.

    Attributes:
        at: what began when: `"F"` or `"B"`, and a piece, or their number for the loss, or `AROUND`.
        sent: bytes of what each piece gives.
        piece: that runs forward now.
    """

    at: list[tuple[str, int, float]] = field(default_factory=list)
    sent: dict[int, int] = field(default_factory=dict)
    piece: int = AROUND
    on: bool = False

    @contextmanager
    def taken(self, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        """A block in which stamps are taken: also when each of these got a gradient."""
        self.at.clear()
        hooks = [
            p.register_post_accumulate_grad_hook(self._accumulated)  # type: ignore[no-untyped-call]
            for p in parameters
        ]
        self.on = True
        try:
            yield
        finally:
            self.on = False
            for hook in hooks:
                hook.remove()

    def _accumulated(self, _: Tensor) -> None:
        self.take("B", AROUND)  # the last one of a pass was the last thing that it did

    def take(self, kind: str, piece: int) -> None:
        """Note that something begins now."""
        if self.on:
            self.at.append((kind, piece, time.perf_counter()))

    def before_backward(self, value: Any, piece: int) -> None:
        """Take a stamp when the backward comes to what a piece gives."""
        if not self.on:
            return
        for x in value if isinstance(value, tuple) else (value,):
            tensor = debug_unwrap(x) if isinstance(x, Tensor) else None
            if tensor is not None and tensor.grad_fn is not None:
                # A view's own node is lost if the next piece changes it in place, its base's not.
                base = tensor if tensor._base is None else tensor._base
                nodes = {tensor.grad_fn, base.grad_fn}
                self._once([node for node in nodes if node is not None], piece)
                return

    def _once(self, nodes: Sequence[Any], piece: int) -> None:
        due = [True]

        def stamp(_: Any) -> None:
            if due:
                due.pop()
                self.take("B", piece)

        for node in nodes:
            node.register_prehook(stamp)


stamps = Stamps()  # not in a module or closure: what these hold is put back after a pass


class Stamped(Chain):
    """A chain that takes stamps between its pieces."""

    def forward(self, *inputs: Tensor) -> Any:
        """As a chain's."""
        output: Any = inputs if len(inputs) != 1 else inputs[0]
        for number, piece in enumerate(self):
            stamps.piece = number
            stamps.take("F", number)
            output = called(piece, output)
            stamps.before_backward(output, number)
            parts = output if isinstance(output, tuple) else (output,)
            tensors = [x for x in parts if isinstance(x, Tensor)]
            stamps.sent[number] = sum(x.numel() * x.element_size() for x in tensors)
        stamps.piece = AROUND
        stamps.take("F", AROUND)
        return output
