"""Measure what the layers of a model take where they will run: in the stage of a pipeline."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import saved_tensors_hooks
from torch.func import debug_unwrap

from pprs.pipeline import Pipeline
from pprs.pipeline.trace.timeline import EventKind
from pprs.plan.profile import Curve, Layer, Times
from pprs.plan.stamps import AROUND, Stamped, stamps
from pprs.smoothing import Perturbation

_WEIGHT_SHARE = 0.5  # of the backward of a linear map
_MICROBATCHES = 3  # of a step that is timed: two whole periods of each kind of pass
# Those that count, and how much. The first backward has no gradient to add to.
_PASSES: tuple[tuple[EventKind, int, float], ...] = (("F", 0, 0.5), ("F", 1, 0.5), ("B", 1, 1.0))


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Args:
        model: in training mode.
        loss: of outputs and targets.
        inputs: a batch, shape `(m, ...)` each.
        target: of the batch, shape `(m, ...)`.
        example: what the model takes, as for `pprs.pipeline.chain`.
        perturbation: the law of the perturbations; its number K is the largest that is measured.
    """

    model: nn.Module
    loss: Callable[[Any, Tensor], Tensor]
    inputs: tuple[Tensor, ...]
    target: Tensor
    example: tuple[Any, ...]
    perturbation: Perturbation

    def law(self, samples: int) -> Perturbation:
        """So many perturbations; 0 for a plain pass."""
        if samples == 0:
            # One of sigma 0: of more, each stage but the first would run equal copies of a batch.
            return Perturbation(0.0, samples=1)
        return replace(self.perturbation, samples=samples)


class Measurement:
    """A kind of pass, measured: with all processes at work, and with the first one alone.

    Each process runs steps of a pipeline of one stage, at several numbers of rows in turn. All
    calls are collective.

    Args:
        subject: what is measured.
        processes: of the default group.
        smoothed: at perturbed parameters; or plain.
    """

    def __init__(self, subject: Subject, processes: int, *, smoothed: bool) -> None:
        self._processes, self._smoothed = processes, smoothed
        alone = [dist.new_group([rank]) for rank in range(processes)][dist.get_rank()]
        points = _points(subject, smoothed)
        self._runs = [_Run(subject, number, smoothed, alone) for number in points]
        self._single = _Run(subject, points[0], smoothed, alone, microbatches=1)

    def round(self, *, kept: bool) -> None:
        """Run every step once; its times count if they are kept."""
        for run in (*self._runs, self._single):
            for together in (True, False)[: self._processes]:
                dist.barrier()
                if together or dist.get_rank() == 0:
                    run.step(together=together, kept=kept)

    def times(self) -> Times:
        """The medians of what was kept."""
        for run in self._runs[:: len(self._runs) - 1]:
            run.weigh()
        return _fitted(self._processes, self._smoothed, self._runs, self._single)


def _points(subject: Subject, smoothed: bool) -> list[int]:
    """The numbers of perturbations, or of examples, that run together: 1, 2, 3, 4, 6, 8, 12, …"""
    most = max(2, subject.perturbation.samples if smoothed else len(subject.target))
    some = {factor << i for factor in (1, 3) for i in range(most.bit_length())}
    return sorted({n for n in some if n < most} | {most})


class _Run:
    """A pipeline of one stage whose steps are timed at one number of rows."""

    def __init__(
        self,
        subject: Subject,
        together: int,
        smoothed: bool,
        group: Any,
        microbatches: int = _MICROBATCHES,
    ) -> None:
        self.microbatches = microbatches
        batch = len(subject.target)
        count = batch if smoothed else together * microbatches
        repeated = [i % batch for i in range(count)]
        self.rows = float(together * batch if smoothed else together)
        self.examples = batch if smoothed else together
        self.batch = tuple(x[repeated] for x in subject.inputs), subject.target[repeated]
        self.pipeline = Pipeline(
            subject.model,
            self._stamped_loss(subject.loss),
            perturbation=subject.law(together * microbatches if smoothed else 0),
            split="perturbations" if smoothed else "examples",
            microbatches=microbatches,
            example=subject.example,
            seed=0,
            check=False,
            record=1,
            group=group,
        )
        (self.stage,) = self.pipeline.local.values()
        self.stage.chain = Stamped(*self.stage.chain)
        self._pieces = len(self.stage.chain)
        engine = self.pipeline._engine
        inner = engine.mean_loss

        def mean_loss(outputs: Any, targets: Tensor) -> Tensor:
            stamps.take("F", self._pieces)
            return inner(outputs, targets)

        engine.mean_loss = mean_loss  # type: ignore[method-assign]
        self.seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.kept: dict[int, float] = {}
        self.splits = False

    def _stamped_loss(self, loss: Callable[[Any, Tensor], Tensor]) -> Callable[..., Tensor]:
        def stamped(outputs: Any, target: Tensor) -> Tensor:
            value = loss(outputs, target)
            self.splits = _can_split(debug_unwrap(value).grad_fn)
            stamps.before_backward(value, self._pieces)
            return value

        return stamped

    def step(self, *, together: bool, kept: bool) -> None:
        """Take a step without stamps and one with them, and keep their times."""
        bare, whole = self._timed(stamped=False), self._timed(stamped=True)
        if not kept:
            return
        if self.microbatches == 1:
            self.seconds["single" if together else "single alone", 0].append(bare)
            return
        spent: dict[tuple[str, int], float] = defaultdict(float)
        for kind, number, share in _PASSES:
            for what, seconds in self._pass(kind, number):
                spent[kind, what] += share * seconds
        total = sum(spent.values())
        if not together:
            self.seconds["alone", 0].append(total)
            return
        first = sum(seconds for _, seconds in self._pass("B", 0))
        later = sum(seconds for _, seconds in self._pass("B", 1))
        spent |= {("together", 0): total, ("first", 0): later - first}
        spent |= {("whole", 0): whole, ("bare", 0): bare}
        for key, seconds in spent.items():
            self.seconds[key].append(seconds)

    def _timed(self, *, stamped: bool) -> float:
        with stamps.taken(self.stage.parameters()) if stamped else nullcontext():
            start = time.perf_counter()
            self.pipeline.step(*self.batch)
            return time.perf_counter() - start

    def _pass(self, kind: EventKind, number: int) -> Iterator[tuple[int, float]]:
        """What a pass did, from its beginning to that of the next one, and how long."""
        recorder = self.pipeline._recorder
        assert recorder is not None
        begin, end = recorder.starts(kind)[number : number + 2]
        inside = [(what, at) for mark, what, at in stamps.at if mark == kind and begin <= at < end]
        if kind == "B":  # gradients are stamped too: with the last one the layers are done
            inside = [stamp for stamp in inside if stamp[0] != AROUND or stamp is inside[-1]]
        for (what, start), (_, after) in pairwise([(AROUND, begin), *inside, (AROUND, end)]):
            yield what, after - start

    def middle(self, what: str) -> float:
        """The median of something that is measured of whole steps, as it is without stamps."""
        return self.unstamped * statistics.median(self.seconds[what, 0])

    @property
    def unstamped(self) -> float:
        """How much of the time of a step with stamps one without them takes."""
        bare, whole = (statistics.median(self.seconds[what, 0]) for what in ("bare", "whole"))
        return min(1.0, bare / whole)

    def weigh(self) -> None:
        """Take a step that finds out what the pieces keep for their backward."""
        kept: dict[int, tuple[int, Any]] = {}  # the storages too, whose place no other may take
        own = {p.untyped_storage().data_ptr() for p in self.stage.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept.setdefault(storage.data_ptr(), (stamps.piece, storage))
            return tensor

        with stamps.taken(()), saved_tensors_hooks(keep, lambda tensor: tensor):
            self.pipeline.step(*self.batch)
        for piece, storage in kept.values():
            self.kept[piece] = self.kept.get(piece, 0.0) + storage.nbytes() / _MICROBATCHES


def _fitted(processes: int, smoothed: bool, runs: Sequence[_Run], single: _Run) -> Times:
    first, last = runs[0], runs[-1]
    chain = first.stage.chain

    def curve(kind: str, what: int) -> Curve:
        seconds = [run.unstamped * _typical(run.seconds[kind, what]) for run in runs]
        return Curve(tuple(run.rows for run in runs), tuple(seconds))

    def layer(name: str, what: int, parameters: int = 0) -> Layer:
        kept = Curve((first.rows, last.rows), (first.kept.get(what, 0.0), last.kept.get(what, 0.0)))
        sent = Curve.line(per_row=stamps.sent.get(what, 0) / last.examples)
        return Layer(name, curve("F", what), curve("B", what), kept, sent, parameters)

    sizes = [sum(p.numel() * p.element_size() for p in piece.parameters()) for piece in chain]
    named = zip(chain.layers, sizes, strict=True)
    layers = tuple(layer(name, i, parameters) for i, (name, parameters) in enumerate(named))
    alone = [
        run.middle("alone") / run.middle("together") for run in runs if run.seconds["alone", 0]
    ]
    saved = max(0.0, statistics.median(run.middle("first") for run in runs))
    once = statistics.median(single.seconds["single", 0])
    step = max(0.0, once - first.middle("together") + saved)
    several = first.middle("whole") - _MICROBATCHES * first.middle("together") + saved - step
    return Times(
        processes,
        smoothed,
        layers,
        layer("around", AROUND),
        layer("loss", len(layers)),
        step=step,
        first=saved,
        several=max(0.0, several),
        weight_share=_WEIGHT_SHARE if first.splits else 0.0,
        alone=min(1.0, statistics.geometric_mean(alone)) if alone else 1.0,
    )


def _typical(seconds: Sequence[float]) -> float:
    """The mean of the middle half, which adds up over layers better than a median does."""
    aside = len(seconds) // 4
    middle = sorted(seconds)[aside : len(seconds) - aside]
    return statistics.fmean(middle) if middle else 0.0


def _can_split(node: Any) -> bool:
    """Whether a backward falls into two halves: no function in it has a backward of its own."""
    seen, left = set(), [node]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, BackwardCFunction):
            return False
        seen.add(node)
        left += [after for after, _ in node.next_functions]
    return True
