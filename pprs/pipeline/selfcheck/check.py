"""What is compared in the first step of a pipeline, and what was found."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor

from pprs.pipeline.engine import Engine
from pprs.pipeline.microbatches import Microbatches
from pprs.pipeline.partitioner import Chain
from pprs.pipeline.selfcheck.both import Both
from pprs.pipeline.selfcheck.order import Copies, Order
from pprs.pipeline.selfcheck.whole import UnlikeError, compare

Tensors = tuple[Tensor, ...]

_ROWS = 2  # of a batch tell a model from another


@dataclass(frozen=True)
class _Found:
    """What one process finds for all.

    Args:
        wrong: in a sentence.
        apart: how far results are apart at most.
        unknown: why it could not compare.
    """

    wrong: str | None = None
    apart: float = 0.0
    unknown: str | None = None


class SelfCheck:
    """Compares a pipeline with the user's own model, on a few examples of its first batch.

    Args:
        whole: all pieces, which the first process keeps until :meth:`cut` is done.
        engine: of this process.
        copies: all processes.

    Attributes:
        said: what was compared and at which cost, once all is done.
    """

    def __init__(self, whole: Chain, engine: Engine, copies: Copies) -> None:
        self._engine, self._copies = engine, copies
        known = whole.origin is not None and dist.get_rank(copies.everyone) == 0
        self._both = Both(whole, engine.loss) if known else None
        self._found = _Found()
        self._rows, self._seconds = 0, 0.0
        self.said = ""

    def cut(self, inputs: Tensors, y: Any) -> None:
        """Compare all pieces with the model before the first step; a collective call.

        Args:
            inputs: of the whole batch.
            y: the targets, read on the last stage.

        Raises:
            UnlikeError: in all processes, if they differ.
        """
        start, group = time.perf_counter(), self._copies.everyone
        self._rows = min(_ROWS, len(inputs[0]))
        last = self._copies.owners[-1]
        shared: list[Any] = [y[: self._rows].cpu() if dist.get_rank(group) == last else None]
        dist.broadcast_object_list(shared, group=group, group_src=last)
        if dist.get_rank(group) == 0:
            shared = [_compared(self._both, tuple(x[: self._rows] for x in inputs), shared[0])]
        dist.broadcast_object_list(shared, group=group, group_src=0)
        self._found = shared[0]
        if self._found.wrong:
            raise UnlikeError(self._found.wrong)
        self._both = None
        self._seconds += time.perf_counter() - start

    def schedule(self, divided: Microbatches, number: int, inputs: Tensors, y: Any) -> None:
        """Compare the engine with a plain pass after its first step; a collective call.

        Args:
            divided: how the work of a step is divided.
            number: of microbatches.
            inputs: of the whole batch.
            y: the targets, read on the last stage.

        Raises:
            UnlikeError: in all processes, if they differ.
        """
        start = time.perf_counter()
        order = Order(self._engine, self._copies, divided, number, inputs, y)
        wrong, apart = order.compare()
        if wrong:
            raise UnlikeError(wrong)
        self._seconds += time.perf_counter() - start
        self.said = self._sentence(apart)

    def _sentence(self, apart: float | None) -> str:
        found, cost = self._found, f"{self._seconds:.1f} s"
        largest = max(found.apart, apart or 0.0)
        if found.unknown:
            return f"the cut model was not compared with yours, since {found.unknown} ({cost})"
        what = "the cut model" if apart is not None else "the cut model, but not its schedule,"
        return (
            f"compared {what} with yours on {self._rows} examples: equal to {largest:.0e}, {cost}"
        )


def _compared(both: Both | None, inputs: Tensors, y: Tensor) -> _Found:
    if both is None:
        return _Found(unknown="it is a chain of which nothing tells what it was cut from")
    if not both.here:
        return _Found(unknown="not all of it is in the memory of the first process")
    try:
        with both.on(inputs, y):
            return _Found(apart=compare(both))
    except UnlikeError as error:
        return _Found(wrong=str(error))
    except Exception as error:  # whatever a user's code raises; the step will say it, too
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        return _Found(unknown=f"it does not run in one process: {reason}")
