"""Measure what the layers of a model take where they will run: in the stage of a pipeline."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import saved_tensors_hooks
from torch.func import debug_unwrap

from pprs.pipeline import Chain, Pipeline
from pprs.pipeline.partitioner.layer_outputs import called
from pprs.plan.profile import Curve, Layer, Times
from pprs.smoothing import Perturbation

_WEIGHT_SHARE = 0.5  # of the backward of a linear map
_MICROBATCHES = 3  # of a step that is timed: two whole periods of each kind of pass


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


@dataclass
class _Stamps:
    """When the parts of passes began, and what they keep."""

    at: list[tuple[str, int, float]] = field(default_factory=list)
    sent: dict[int, int] = field(default_factory=dict)
    piece: int = -1
    on: bool = True

    def take(self, kind: str, piece: int) -> None:
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


_stamps = _Stamps()  # not in a module or closure: what these hold is put back after a pass


class _Stamped(Chain):
    """A chain that takes stamps between its pieces."""

    def forward(self, *inputs: Tensor) -> Any:
        output: Any = inputs if len(inputs) != 1 else inputs[0]
        for number, piece in enumerate(self):
            _stamps.piece = number
            _stamps.take("F", number)
            output = called(piece, output)
            _stamps.before_backward(output, number)
            parts = output if isinstance(output, tuple) else (output,)
            tensors = [x for x in parts if isinstance(x, Tensor)]
            _stamps.sent[number] = sum(x.numel() * x.element_size() for x in tensors)
        _stamps.piece = -1
        _stamps.take("F", len(self))
        return output


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
        law = subject.perturbation
        law = replace(law, samples=together * microbatches) if smoothed else Perturbation(0.0)
        self.pipeline = Pipeline(
            subject.model,
            self._stamped_loss(subject.loss),
            perturbation=law,
            split="perturbations" if smoothed else "examples",
            microbatches=microbatches,
            example=subject.example,
            seed=0,
            check=False,
            group=group,
        )
        (self.stage,) = self.pipeline.local.values()
        self.stage.chain = _Stamped(*self.stage.chain)
        self._pieces = len(self.stage.chain)
        inner = self.stage.forward

        def forward(*inputs: Tensor, microbatch: Tensor) -> Any:
            _stamps.take("S", -1)
            output = inner(*inputs, microbatch=microbatch)
            _stamps.take("L", self._pieces)
            return output

        self.stage.forward = forward  # type: ignore[method-assign]
        self.seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.kept: dict[int, float] = {}
        self.splits = False

    def _stamped_loss(self, loss: Callable[[Any, Tensor], Tensor]) -> Callable[..., Tensor]:
        def stamped(outputs: Any, target: Tensor) -> Tensor:
            value = loss(outputs, target)
            self.splits = _can_split(debug_unwrap(value).grad_fn)
            _stamps.before_backward(value, self._pieces)
            return value

        return stamped

    def step(self, *, together: bool, kept: bool) -> None:
        """Take a step without stamps and one with them, and keep their times."""
        bare, whole = self._timed(stamps=False), self._timed(stamps=True)
        if not kept:
            return
        if self.microbatches == 1:
            self.seconds["single" if together else "single alone", 0].append(bare)
            return
        spent: dict[tuple[str, int], float] = defaultdict(float)
        # The first backward has no gradient to add to, and so is none of those that repeat.
        for kind, number, share in (("F", 0, 0.5), ("F", 1, 0.5), ("B", 1, 1.0)):
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

    def _timed(self, *, stamps: bool) -> float:
        _stamps.on = stamps
        _stamps.at.clear()
        start = time.perf_counter()
        self.pipeline.step(*self.batch)
        return time.perf_counter() - start

    def _pass(self, kind: str, number: int) -> Iterator[tuple[int, float]]:
        """The parts of a pass, by what took so long: -1 around, n the loss."""
        stamps = [stamp for stamp in _stamps.at if (stamp[0] == "B") == (kind == "B")]
        each = len(stamps) // _MICROBATCHES
        some = stamps[number * each : (number + 1) * each + 1]
        for (mark, what, start), (*_, end) in pairwise(some):
            yield (-1 if (mark, what) == ("F", self._pieces) else what), end - start

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
                kept.setdefault(storage.data_ptr(), (_stamps.piece, storage))
            return tensor

        _stamps.on = True
        with saved_tensors_hooks(keep, lambda tensor: tensor):
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
        sent = Curve.line(per_row=_stamps.sent.get(what, 0) / last.examples)
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
        layer("around", -1),
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
