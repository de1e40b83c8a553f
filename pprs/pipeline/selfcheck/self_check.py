"""The comparison of a pipeline with its model, in the first step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist
from torch import Tensor

from pprs.pipeline.communication import broadcast
from pprs.pipeline.engine import Engine
from pprs.pipeline.microbatches import Microbatches
from pprs.pipeline.partitioner import Chain
from pprs.pipeline.selfcheck.model_and_chain import ModelAndChain
from pprs.pipeline.selfcheck.model_check import UnlikeError, compare
from pprs.pipeline.selfcheck.quick_check import Agreement, Reference, quick_check
from pprs.pipeline.selfcheck.schedule_check import Replicas, ScheduleCheck, few
from pprs.pipeline.selfcheck.sketch import Sketches

Tensors = tuple[Tensor, ...]
Look = Callable[[ModelAndChain], Agreement | None]


@dataclass(frozen=True)
class _Findings:
    """What one process has found, which all get.

    Args:
        wrong: in a sentence.
        apart: the largest relative difference of results.
        unknown: why it could not compare.
        failed: whether that is since the model did not run.
        right: the gradients of the model.
        rounded: the same at parameters changed in their last digits, where that was asked for.
        state: and sketches of its parameters and buffers.
    """

    wrong: str | None = None
    apart: float = 0.0
    unknown: str | None = None
    failed: bool = False
    right: Reference | None = None
    rounded: Sequence[Sketches] = ()
    state: Sketches = field(default_factory=dict)


class SelfCheck:
    """Compares a pipeline with the user's own model, on a few examples of its first batch.

    Args:
        whole: all pieces, which the first process keeps until `compare` is done.
        engine: of this process.
        copies: all processes.

    Attributes:
        said: what was compared and at which cost, once all is done.
    """

    def __init__(self, whole: Chain, engine: Engine, copies: Replicas) -> None:
        self._engine, self._copies = engine, copies
        known = whole.origin is not None and dist.get_rank(copies.everyone) == 0
        self._pair = ModelAndChain(whole, engine.loss) if known else None
        self._found = _Findings()
        self._rows, self._seconds = 0, 0.0
        self.said = ""

    def compare(self, divided: Microbatches, number: int, inputs: Tensors, y: Any) -> None:
        """Compare pieces, model and schedule before the first step; a collective call.

        Args:
            divided: how the work of a step is divided.
            number: of microbatches.
            inputs: of the whole batch.
            y: the targets, read on the last stage.

        Raises:
            UnlikeError: in all processes, if they differ.
        """
        start, all_of_it = time.perf_counter(), (number, len(inputs[0]))
        order, some, targets = self._look(divided, few(divided, *all_of_it), inputs, y)
        if self._found.failed:  # its examples may belong together
            order, some, targets = self._look(divided, all_of_it, inputs, y)
        right = self._found.right
        apart = None if right is None else order.like(right)
        if apart is None:
            if right is not None:  # the engine leaves other gradients: is it the cut?
                self._found = self._cut(_exactly, some, targets, right)
            wrong, apart = order.compare()
            if right is not None and not wrong and apart is not None:  # or what lies between?
                wrong = order.unlike(right, self._found.rounded, self._found.state)
            if wrong:
                raise UnlikeError(wrong)
        self._pair = None
        self._seconds = time.perf_counter() - start
        self.said = self._sentence(apart)

    def _look(
        self, divided: Microbatches, size: tuple[int, int], inputs: Tensors, y: Any
    ) -> tuple[ScheduleCheck, Tensors, Tensor]:
        """Look at the first microbatches and examples, as many as `size` says; a collective call.

        Returns:
            The check of the schedule, which has not run yet, and the examples.
        """
        number, self._rows = size
        inputs = tuple(x[: self._rows] for x in inputs)
        last = self._copies.owners[-1]
        reads = dist.get_rank(self._copies.everyone) == last
        y = broadcast(y[: self._rows].cpu() if reads else None, last, self._copies.everyone)
        order = ScheduleCheck(self._engine, self._copies, divided, number, inputs, y)
        self._found = self._cut(quick_check, inputs, y)
        return order, inputs, y

    def _cut(
        self, look: Look, inputs: Tensors, y: Tensor, right: Reference | None = None
    ) -> _Findings:
        """What the first process finds of the pieces; a collective call."""
        mine = None
        if dist.get_rank(self._copies.everyone) == 0:
            mine = _compared(self._pair, look, inputs, y, right)
        found: _Findings = broadcast(mine, 0, self._copies.everyone)
        if found.wrong:
            raise UnlikeError(found.wrong)
        return found

    def _sentence(self, apart: float | None) -> str:
        found, cost = self._found, f"{self._seconds:.1f} s"
        largest = max(found.apart, apart or 0.0)
        if found.unknown:
            return f"the cut model was not compared with yours, since {found.unknown} ({cost})"
        what = "the cut model" if apart is not None else "the cut model, but not its schedule,"
        alike = f"equal to {largest:.0e} of their norms" if largest else "identical"
        return f"compared {what} with yours on {self._rows} examples: results {alike}, {cost}"


def _exactly(pair: ModelAndChain) -> Agreement:
    return Agreement(compare(pair))


def _compared(
    pair: ModelAndChain | None, look: Look, inputs: Tensors, y: Tensor, right: Reference | None
) -> _Findings:
    if pair is None:
        return _Findings(unknown="it is a chain of unknown origin")
    if not pair.here:
        return _Findings(
            unknown="not all of it is in the memory of the first process, and it is not compared "
            "layer by layer"
        )
    try:
        with pair.on(inputs, y):
            seen = look(pair) or _exactly(pair)
            if right is None:
                return _Findings(apart=seen.apart, right=seen.right)
            runs = pair.rounded((not right.evaluating,), "sketches", right.eps)
            rounded = [ran.sketches for ran in runs]
            return _Findings(apart=seen.apart, rounded=rounded, state=pair.state())
    except UnlikeError as error:
        return _Findings(wrong=str(error))
    except Exception as error:  # whatever a user's code raises; the step will say it, too
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        return _Findings(unknown=f"it does not run in one process: {reason}", failed=True)
