"""The full comparison of a chain of pieces with its model."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Literal

from pprs.pipeline.selfcheck import messages
from pprs.pipeline.selfcheck.first_module import nearest
from pprs.pipeline.selfcheck.model_and_chain import Kept, ModelAndChain, RunResults
from pprs.pipeline.selfcheck.rounding import Results, confirmed, relative_difference


class UnlikeError(RuntimeError):
    """A pipeline does not compute what its model does; the message says where."""


def compare(pair: ModelAndChain) -> float:
    """Run both in the mode in which the model was built and, if that is training, the other.

    Returns:
        How far results are apart at most, relative to their norms.

    Raises:
        UnlikeError: if that is more than rounding.
    """
    modes = (True, False) if pair.trained and pair.switches else (True,)
    return max(_Mode(pair, built).judge() for built in modes)


class _Mode:
    def __init__(self, pair: ModelAndChain, built: bool) -> None:
        self._pair, self._built = pair, built
        self._modes = built, built
        self._kept: Kept | None = "gradients" if built else None
        self._name = "training" if built and pair.trained else "evaluation"
        self._own, self._cut = self._run("own"), self._run("cut")
        self._eps = pair.precision(self._own)

    def judge(self) -> float:
        pair = self._pair
        hidden = self._own.drawn - self._cut.drawn - {"torch", "cuda"}
        if hidden:
            raise UnlikeError(
                messages.draws_elsewhere(self._name, sorted(hidden), traced=pair.traced)
            )
        return max(
            *(self._judge_outputs(run) for run in range(len(self._own.outputs))),
            self._judge_gradients(),
            self._judge_buffers(),
        )

    def _judge_outputs(self, run: int) -> float:
        off, largest = self._off(lambda ran: ran.outputs[run])
        if off:
            pair = self._pair
            module = pair.first_module(built=self._built, run=run, eps=self._eps)
            raise UnlikeError(
                messages.other_outputs(
                    self._name, module, max(off.values()), again=run > 0, traced=pair.traced
                )
            )
        return largest

    def _judge_gradients(self) -> float:
        off, largest = self._off(lambda ran: ran.gradients)
        if off and not any(g is not None for g in self._cut.gradients.values()):
            raise UnlikeError(messages.no_gradients(self._name, traced=self._pair.traced))
        if off:
            name, after = nearest(self._pair.order, off)
            there = self._cut.gradients.get(name) is not None
            raise UnlikeError(
                messages.other_gradients(
                    self._name, name, after, off[name], missing=not there, traced=self._pair.traced
                )
            )
        return largest

    def _judge_buffers(self) -> float:
        start = self._pair.buffers
        changed = {n for n, b in self._own.buffers.items() if relative_difference(b, start.get(n))}
        left = self._cut.buffers.keys()

        shared = left & self._own.buffers.keys() | changed

        def seen(ran: RunResults) -> Results:
            return {n: b for n, b in ran.buffers.items() if n in shared}

        off, largest = self._off(seen)
        if off:
            name = next(iter(off))
            raise UnlikeError(
                messages.other_buffers(self._name, name, off[name], traced=self._pair.traced)
            )
        return largest

    def _off(self, part: Callable[[RunResults], Results]) -> tuple[dict[str, float], float]:
        """The results that differ by more than rounding, and how far all are apart at most."""
        own, cut = part(self._own), part(self._cut)
        sizes = {name: relative_difference(cut.get(name), own.get(name)) for name in {**own, **cut}}
        suspect = {name: size for name, size in sizes.items() if size > math.sqrt(self._eps)}
        if not suspect:
            return {}, max(sizes.values(), default=0.0)
        real = confirmed(suspect, own, [part(ran) for ran in self._rounded])
        if not real:
            self._judge_repetition()
        calm = [size for name, size in sizes.items() if name not in suspect]
        return real, max(calm, default=0.0)

    @cached_property
    def _rounded(self) -> list[RunResults]:
        return self._pair.rounded(self._modes, self._kept, self._eps)

    def _judge_repetition(self) -> None:
        """Refuse pieces that repeat their output where the model's own output changes each time."""
        if self._repeats("own") or not self._repeats("cut"):
            return
        raise UnlikeError(messages.changes_by_itself(self._name, traced=self._pair.traced))

    def _repeats(self, which: Literal["own", "cut"]) -> bool:
        first = self._own if which == "own" else self._cut
        again = self._run(which)
        return all(
            relative_difference(a, b) <= math.sqrt(self._eps)
            for before, after in zip(first.outputs, again.outputs, strict=True)
            for a, b in zip(before.values(), after.values(), strict=True)
        )

    def _run(self, which: Literal["own", "cut"]) -> RunResults:
        return self._pair.run(which, self._modes, self._kept)
