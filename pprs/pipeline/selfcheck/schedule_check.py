"""The check of a schedule: are its gradients those of one plain pass through the stages?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.pipeline.communication import gathered
from pprs.pipeline.engine import Engine
from pprs.pipeline.mesh import Mesh
from pprs.pipeline.microbatches import Microbatches
from pprs.pipeline.schedule import fitting
from pprs.pipeline.selfcheck import messages
from pprs.pipeline.selfcheck.model_and_chain import plain_loss
from pprs.pipeline.selfcheck.plain_pass import PlainPass
from pprs.pipeline.selfcheck.quick_check import Reference
from pprs.pipeline.selfcheck.rounding import (
    TIMES,
    Results,
    confirmed,
    nudged,
    precision,
    relative_difference,
)
from pprs.pipeline.selfcheck.sketch import Sketches, sketch, sketched_difference
from pprs.pipeline.snapshot import Snapshot, drawn, generator_states, gradients_kept
from pprs.pipeline.tied import Tied

Tensors = tuple[Tensor, ...]

_ROWS = 2  # of a microbatch
_NUDGES = 2
_LOSS = "the loss"


@dataclass
class Replicas:
    """The replicas of a pipeline.

    Args:
        mesh: all of them.
        owners: the process of each stage, in its copy.
        across: the processes with the same stages in all replicas.
        everyone: the processes of all copies.
        tied: the parameters that several processes of a copy hold.
    """

    mesh: Mesh
    owners: list[int]
    across: dist.ProcessGroup | None
    everyone: dist.ProcessGroup | None
    tied: Tied

    def combine(self, parameters: Iterable[nn.Parameter], loss: Tensor | None) -> None:
        """Make the whole gradient of what each process has left in `.grad`; a collective call.

        Args:
            parameters: of this process.
            loss: where there is one; it gets the mean of all copies.
        """
        self.mesh.average(list(parameters), loss, self.across)
        self.tied.add_up()

    def gathered(self, value: object) -> list[Any]:
        """All-gather a value."""
        return gathered(value, self.everyone)


class ScheduleCheck:
    """Compares an engine's step with a plain pass, on a few examples, without noise or dropout.

    Args:
        engine: of this process.
        copies: all processes.
        divided: how the work of a step is divided.
        number: of microbatches, as `few` has it.
        inputs: of a few examples.
        y: the targets, read on the last stage.
    """

    def __init__(
        self,
        engine: Engine,
        copies: Replicas,
        divided: Microbatches,
        number: int,
        inputs: Tensors,
        y: Any,
    ) -> None:
        self._number = number
        self._engine = engine.fresh(replace(engine.perturbation, sigma=0.0))
        self._copies, self._divided = copies, divided
        self._inputs = inputs
        self._y = y.to(engine.device) if engine.stages - 1 in engine.local else y
        for stage in engine.local.values():
            stage.admit()  # or each time that they are put back they forget it
        chains = {number: stage.chain for number, stage in engine.local.items()}
        self._passes = PlainPass(chains, copies.owners, engine.device, engine.group)
        self._stage_of = {n: i for i, s in engine.local.items() for n in s.trainable()}
        self._parameters = {n: p for s in engine.local.values() for n, p in s.trainable().items()}
        tensors = [t for s in engine.local.values() for t in (*s.parameters(), *s.buffers())]
        own = precision([*tensors, *self._inputs], engine.device)
        self._eps = max(copies.gathered(own))
        self._kept = Snapshot(engine.local.values(), engine.loss)
        self._chance = False  # whether a pass draws random numbers
        self._evaluating = True
        self._off: dict[str, float] = {}  # how far the engine's gradients are from the model's
        self._last: tuple[Any, Tensor] | None = None  # what the last stage gave, and its loss

    @property
    def _divides(self) -> bool:
        """Whether the examples of a batch run apart from each other."""
        return self._divided.split == "examples" or self._engine.perturbation.noise == "example"

    def like(self, right: Reference) -> float | None:
        """Run the engine only, in the mode of the model's gradients; a collective call.

        Returns:
            The largest relative difference of its gradients from the model's, or `None` in doubt.
        """
        self._evaluating = right.evaluating
        self._eps = max(self._eps, right.eps)
        with gradients_kept(self._parameters.values()), self._still():
            found = self._stepped(sketches=True)
        self._evaluating = True
        names = self._parameters.keys() & right.gradients.keys() | {
            name for name, value in found.items() if value is not None and name != _LOSS
        }
        self._off = {
            name: sketched_difference(found.get(name), right.gradients.get(name)) for name in names
        }
        sizes = [*self._off.values()]
        if found.get(_LOSS) is not None:
            sizes.append(
                relative_difference(found[_LOSS], torch.tensor(right.loss).to(found[_LOSS]))
            )
        largest = max(self._copies.gathered(max(sizes, default=0.0)))
        return largest if largest <= math.sqrt(self._eps) / 2 else None

    def unlike(self, right: Reference, rounded: Sequence[Sketches], state: Sketches) -> str | None:
        """What differed in `like` by more than rounding; a collective call.

        Args:
            right: the model's gradients.
            rounded: the same at parameters changed in their last digits.
            state: its parameters and buffers.

        Returns:
            A sentence about the one nearest to the input. None where the stages have other
            parameters or buffers than the model, which the first process has not trained.
        """
        here = {n: t for s in self._engine.local.values() for n, t in s.state().items()}
        if not all(
            self._copies.gathered(
                all(
                    sketched_difference(sketch(t), state[n]) <= self._eps
                    for n, t in here.items()
                    if n in state
                )
            )
        ):
            return None
        lines = []
        for name, size in self._off.items():
            noise = max(
                (sketched_difference(s.get(name), right.gradients.get(name)) for s in rounded),
                default=0.0,
            )
            if size > max(math.sqrt(self._eps), TIMES * noise):
                stage = self._stage_of[name]
                lines.append((-stage, messages.past_the_cut(name, stage, size)))
        return self._first(lines)

    def compare(self) -> tuple[str | None, float | None]:
        """Run both; a collective call of all processes.

        Returns:
            What is wrong, in a sentence; and how far gradients are apart at most, unless chance
            forbids to compare them.
        """
        with gradients_kept(self._parameters.values()), self._still():
            found, right = self._stepped(), self._passed()
            between = precision([], self._engine.device, self._passes.types)
            self._eps = max(self._copies.gathered(max(self._eps, between)))
            sizes = {name: relative_difference(found.get(name), right[name]) for name in right}
            bound = math.sqrt(self._eps)
            suspect = {name: size for name, size in sizes.items() if size > bound}
            largest = max((size for name, size in sizes.items() if name not in suspect), default=0)
            said = self._copies.gathered((suspect, largest, self._chance))
            chance = any(drew for *_, drew in said)
            wrong = None
            if any(some for some, *_ in said):
                wrong = self._agreed(self._confirmed(suspect, right, chance), found)
        return wrong, None if chance else max(size for _, size, _ in said)

    def _confirmed(
        self, suspect: dict[str, float], right: Results, chance: bool
    ) -> dict[str, float]:
        if chance:  # what is missing still counts
            return {name: size for name, size in suspect.items() if size == math.inf}
        rounded = []
        for seed in range(_NUDGES):
            with nudged(self._parameters.values(), self._eps, seed):
                rounded.append(self._passed())
        return confirmed(suspect, right, rounded)

    def _agreed(self, wrong: dict[str, float], found: Results) -> str | None:
        """What is wrong nearest to the output, in all processes; a collective call."""
        lines = []
        for name, size in wrong.items():
            missing = found.get(name) is None
            where, schedule = self._stage_of.get(name), self._divided.schedule
            sentence = messages.other_schedule(
                name, where, size, schedule, missing=missing, divided=self._divides
            )
            if name == _LOSS:
                sentence = self._no_mean() or sentence
            lines.append((self._engine.stages if where is None else where, sentence))
        return self._first(lines)

    def _first(self, lines: list[tuple[int, str]]) -> str | None:
        """The line with the largest number, in all processes; a collective call."""
        everywhere = [line for some in self._copies.gathered(lines) for line in some]
        return max(everywhere, key=lambda line: line[0])[1] if everywhere else None

    def _stepped(self, *, sketches: bool = False) -> dict[str, Tensor | None]:
        """The gradients that the engine leaves, or sketches of them, and its loss."""
        losses = self._engine.run(
            self._divided, self._number, self._inputs, self._y, "without noise"
        )
        found: dict[str, Tensor | None] = {}
        if losses is not None:
            found[_LOSS] = losses.mean()
        self._copies.combine(self._parameters.values(), found.get(_LOSS))
        for name, parameter in self._parameters.items():
            gradient = parameter.grad
            found[name] = sketch(gradient) if sketches and gradient is not None else gradient
        self._renew()
        return found

    def _passed(self) -> dict[str, Tensor | None]:
        """The gradients that a plain pass leaves, and its loss."""
        before = generator_states()
        outputs, loss = self._passes.gradient(self._inputs, self._loss)
        self._copies.tied.add_up()
        self._chance = self._chance or bool(drawn(before, generator_states()))
        right: dict[str, Tensor | None] = {n: p.grad for n, p in self._parameters.items()}
        if loss is not None:
            right[_LOSS] = loss
            self._last = outputs, loss
        self._renew()
        return right

    def _loss(self, outputs: Any) -> Tensor:
        return plain_loss(self._engine.loss, outputs, self._y)

    def _no_mean(self) -> str | None:
        """What is wrong if the loss of a batch is not the mean of its parts' losses."""
        perturbation, number = self._engine.perturbation, self._number
        if self._last is None or not self._divides:
            return None
        outputs, whole = self._last
        parts = len(self._y) if perturbation.noise == "example" else number
        split = _split(outputs, self._y, parts)
        if split is None:
            return None
        with torch.no_grad():
            each = [plain_loss(self._engine.loss, *part) for part in split]
        mean = torch.stack(each).mean()
        scale = max(whole.abs().item(), torch.stack(each).abs().mean().item())
        off = abs(mean.item() - whole.item())
        if not off > math.sqrt(self._eps) * scale:
            return None
        what = 'noise="example"' if perturbation.noise == "example" else 'split="examples"'
        return messages.no_mean(whole.item(), mean.item(), what, parts)

    def _renew(self) -> None:
        """Buffers and generators as before, and no gradients."""
        self._kept.restore()
        self._quiet()
        for parameter in self._parameters.values():
            parameter.grad = None

    def _quiet(self) -> None:
        for stage in self._engine.local.values() if self._evaluating else ():
            stage.eval()

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Inside the block stages are without noise, and in evaluation mode where that is asked."""
        stages = self._engine.local.values()
        kept = [stage.perturbation for stage in stages]
        try:
            for stage in stages:
                stage.perturbation = self._engine.perturbation
            self._quiet()
            yield
        finally:
            for stage, perturbation in zip(stages, kept, strict=True):
                stage.perturbation = perturbation
            self._kept.restore()


def few(divided: Microbatches, number: int, batch: int) -> tuple[int, int]:
    """The least numbers of microbatches and examples that show how a schedule runs.

    Args:
        divided: how the work of a step is divided.
        number: of microbatches.
        batch: examples.
    """
    if divided.split == "perturbations":
        return number, min(_ROWS, batch)
    each = min(_ROWS, batch // number)
    stages = divided.mesh.ranks * divided.each * divided.mesh.replicas
    for fewer in range(min(number, max(2, stages)), number):  # one alone divides nothing
        if fewer in fitting(divided.schedule, divided.mesh, divided.each, fewer):
            return fewer, fewer * each
    return number, number * each


def _split(outputs: Any, y: Tensor, parts: int) -> list[tuple[Any, Tensor]] | None:
    """The outputs and targets of equal parts of a batch, if each output has its examples first."""
    several = isinstance(outputs, tuple)
    given = outputs if several else (outputs,)
    if not all(isinstance(x, Tensor) and x.shape[:1] == y.shape[:1] for x in given):
        return None
    pieces = [x.detach().chunk(parts) for x in given]
    rows = zip(*pieces, strict=True) if several else pieces[0]
    return list(zip(rows, y.chunk(parts), strict=True))
