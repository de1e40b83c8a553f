"""Runs the microbatches of a step on torch's schedules."""

from __future__ import annotations

import logging
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from pprs.pipeline.candidates import Candidates
from pprs.pipeline.communication import gathered
from pprs.pipeline.draws import generators_kept
from pprs.pipeline.forward_pass import forward_pass
from pprs.pipeline.labels import OverLabels, are_labels, check_divisible
from pprs.pipeline.loss import check_uses_none, mean_over_samples
from pprs.pipeline.microbatch_tuning import best_microbatches
from pprs.pipeline.microbatches import Microbatches
from pprs.pipeline.schedule import Schedule
from pprs.pipeline.snapshot import Snapshot
from pprs.pipeline.stage import PerturbedStage, divide_gradients
from pprs.pipeline.trace import Recorder
from pprs.smoothing import Perturbation, check_scalar

if TYPE_CHECKING:
    from pprs.pipeline.split_backward_stage import SplitBackwardStage

_TRIALS = 3  # steps for each number of microbatches that is tried, after a first one
_SHAPES = 8  # of batches, for which what was set up is kept

Tensors = tuple[Tensor, ...]


@dataclass
class _SetUp:
    """Torch's schedule and stages for batches of one kind."""

    schedule: Any
    stages: list[SplitBackwardStage]
    result: Tensor | None  # like what the last stage gives, if it is here


@dataclass
class Engine:
    """The stages of one process, run by torch's schedule.

    Args:
        stages: of a copy.
        local: those of this process, by number.
        owners: the process of each stage, as a rank in the group.
        loss: of one batch.
        perturbation: what is averaged.
        replica: which copy.
        device: where this process computes.
        group: the processes of the copy.
        everyone: those of all copies.
        watchful: whether to refuse an unknown loss that weighs labels unequally.
    """

    stages: int
    local: Mapping[int, PerturbedStage]
    owners: list[int]
    loss: Callable[[Any, Tensor], Tensor]
    perturbation: Perturbation
    replica: int
    device: torch.device
    group: dist.ProcessGroup | None
    everyone: dist.ProcessGroup | None
    watchful: bool = False
    _ready: OrderedDict[Any, _SetUp] = field(default_factory=OrderedDict)
    _running: Any = None
    _total: Tensor | None = None  # labels that count in the whole batch, for an example of it
    _checked: bool = False  # that the loss uses no parameters itself
    _divisible: set[int] = field(default_factory=set)  # labels that the loss weighs as others

    def __post_init__(self) -> None:
        # Takes seconds: not with the package, for commands that run no pipeline, nor in a step.
        import torch.distributed.pipelining  # noqa: F401

        self._over_labels = OverLabels.of(self.loss)

    def fresh(self, perturbation: Perturbation) -> Engine:
        """The same with another perturbation, and nothing set up yet."""
        return replace(
            self,
            perturbation=perturbation,
            watchful=False,
            _ready=OrderedDict(),
            _running=None,
        )

    def run(
        self,
        divided: Microbatches,
        number: int,
        inputs: tuple[Tensor, ...],
        y: Tensor,
        agreed: object,
        recorder: Recorder | None = None,
        candidates: Candidates | None = None,
    ) -> Tensor | None:
        """Leave the mean gradient of this copy's microbatches in `.grad`; a collective call.

        Args:
            divided: how the work is.
            number: of microbatches of all copies.
            inputs: of the whole batch.
            y: the targets.
            agreed: a key of what runs, with what kinds of tensors; the same on all ranks.
            recorder: of what is done when.
            candidates: that the microbatches run at, and leave their gradients to, instead.

        Returns:
            The losses of this copy's microbatches, on the last stage.
        """
        for stage in self.local.values():
            stage.zero_grad()  # all that is in it will be divided
        losses: list[Tensor] = []
        last = self.stages - 1 in self.local
        own = number // divided.mesh.replicas

        def laid_out(batch: Tensor) -> Tensor:
            return divided.laid_out(batch.to(self.device), number, self.replica)

        batches = tuple(map(laid_out, inputs)) if 0 in self.local else ()
        keys, shares = divided.numbers(number, self.replica)
        microbatches = torch.tensor(keys, device="cpu")
        torch.clear_autocast_cache()  # the parameters are other ones than when it was filled
        key = agreed, number, recorder is None
        try:
            if key not in self._ready:
                seen = self._tried(tuple(x[:1] for x in batches), microbatches[:1])
                order = divided.order(number, len(inputs[0]))
                self._ready[key] = self._set_up(order, own, seen, recorder)
            self._turn_to(key)
            tried = (
                candidates.tried(self._ready[key].stages, shares) if candidates else nullcontext()
            )
            with generators_kept(self._drawn_from(), self.device), _without_torchs_table(), tried:
                if last:
                    result = self._ready[key].result
                    self._look_at_labels(divided, number, y.to(self.device), result)
                self._ready[key].schedule.step(
                    *batches,
                    target=laid_out(y) if last else None,
                    losses=losses if last else None,
                    return_outputs=False,
                    microbatch=microbatches,
                )
        except BaseException:
            self._ready.clear()  # half a step is still in it
            self._running = None
            raise
        if candidates is None:
            divide_gradients(self.local.values(), own)
        return torch.stack(losses).detach() if last else None

    def tuned(
        self, divided: Microbatches, inputs: Tensors, y: Tensor, agreed: object
    ) -> Microbatches:
        """As `run`, with the fastest number of microbatches; a collective call."""

        def seconds(number: int) -> float:
            spent = [self._seconds(divided, number, inputs, y, agreed) for _ in range(1 + _TRIALS)]
            slowest = torch.tensor(spent[1:], dtype=torch.float64, device=self.device)
            dist.all_reduce(slowest, dist.ReduceOp.MAX, group=self.everyone)
            return float(statistics.median(slowest.tolist()))

        possible = divided.possible(len(inputs[0]))
        return replace(divided, number=best_microbatches(possible, divided.slots, seconds))

    def _seconds(
        self, divided: Microbatches, number: int, inputs: Tensors, y: Tensor, agreed: object
    ) -> float:
        dist.barrier(group=self.everyone)
        start = time.perf_counter()
        self.run(divided, number, inputs, y, agreed)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def _tried(self, inputs: Tensors, microbatch: Tensor) -> dict[int, tuple[Tensors, Tensors]]:
        """What the stages here take and give, as tensors; a collective call of a copy.

        Torch would find out by itself, from memory that nothing was written to, and leave what
        that does to the layers' buffers.
        """
        seen: dict[int, tuple[Tensors, Tensors]] = {}

        def tried(number: int, *values: Tensor) -> Tensors:
            outputs = self.local[number].tried(*values, microbatch=microbatch)
            outputs = tuple(y.detach().requires_grad_(y.requires_grad) for y in outputs)
            seen[number] = values, outputs
            return outputs

        stages = {number: partial(tried, number) for number in self.local}
        forward_pass(stages, self.owners, inputs, self.device, self.group)
        self._check_buffers()
        return seen

    def _check_buffers(self) -> None:
        """Refuse on all ranks buffers that would not change as in the network; a collective call.

        It is also the first message of all: NCCL wants one before any between two ranks.
        """
        changed = [
            (number, name.partition(".")[2], name in stage.shared)
            for number, stage in self.local.items()
            for name in stage.changed
            if stage.recompute or name in stage.shared
        ]
        everyone = gathered(changed, self.group)
        for number, name, shared in (found for each in everyone for found in each):
            if shared:
                raise RuntimeError(
                    f"{name} is a buffer that changes in the forward pass, and its layer runs in "
                    f"stage {number} and in another one, each of which would change a copy of its "
                    "own: cut elsewhere, or take a layer of its own for each place"
                )
            raise RuntimeError(
                f"{name} is a buffer that changes in the forward pass, which "
                f"recompute=True runs twice: leave recompute=True out, or use another layer"
            )

    def _set_up(
        self,
        order: Schedule,
        microbatches: int,
        seen: Mapping[int, tuple[Tensors, Tensors]],
        recorder: Recorder | None,
    ) -> _SetUp:
        single = order.placement == "single"
        stages = [self._stage(number, *seen[number], recorder, single) for number in self.local]
        loss = recorder.timed_loss(self.mean_loss) if recorder else self.mean_loss
        given = stages[0] if single else stages
        result = seen[self.stages - 1][1][0] if self.stages - 1 in seen else None
        made = order.engine(given, microbatches, loss_fn=loss, scale_grads=False)
        return _SetUp(made, stages, result)

    def _stage(
        self, number: int, takes: Tensors, gives: Tensors, recorder: Recorder | None, single: bool
    ) -> SplitBackwardStage:
        from pprs.pipeline.split_backward_stage import SplitBackwardStage
        from pprs.pipeline.trace.timed_stage import TimedStage

        where = (self.local[number], number, self.stages, self.device)
        kinds: dict[str, Any] = {"input_args": takes, "output_args": gives, "group": self.group}
        if recorder is None:
            return SplitBackwardStage(*where, ahead=single, **kinds)
        return TimedStage(*where, recorder=recorder, ahead=single, **kinds)

    def _turn_to(self, key: object) -> None:
        """Let only what runs now hold memory, and forget what has not run for long."""
        if key == self._running:
            return
        before = self._ready.get(self._running)
        for stage in before.stages if before else ():
            stage.free_buffers()
        for stage in self._ready[key].stages:
            stage.allocate_buffers()
        self._running = key
        self._ready.move_to_end(key)
        while len(self._ready) > _SHAPES:
            self._ready.popitem(last=False)

    def _drawn_from(self) -> set[str]:
        return set().union(*(stage.draws.kinds for stage in self.local.values()))

    def _look_at_labels(
        self, divided: Microbatches, number: int, y: Tensor, result: Tensor | None
    ) -> None:
        """Check that ignored labels weigh alike in a batch and in its microbatches."""
        self._total = None
        size = divided.examples_at_once(number, len(y))
        if size == len(y) or not are_labels(y) or result is None:
            return
        if self._over_labels:
            self._total = self._over_labels.count(y) / len(y)
        else:
            parts = y.reshape(-1, size, *y.shape[1:])
            some = torch.randn(2, size, *result.shape[2:], device=self.device).to(result.dtype)
            with ExitStack() as stack:
                stack.callback(Snapshot([], self.loss).restore)
                check_divisible(self.loss, some, parts, self._divisible, others=self.watchful)

    def sample_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """The loss of one perturbation, where labels weigh what they do in the whole batch."""
        if self._over_labels is None or self._total is None:
            return self.loss(outputs, targets)
        return self._over_labels.summed(outputs, targets) / (self._total * len(targets))

    def mean_loss(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor) -> Tensor:
        """The loss of one microbatch, the mean over its perturbations."""
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        if torch.is_autocast_enabled(self.device.type):
            # Autocast would do so for losses, but vmap passes it by.
            parts = tuple(x.float() if x.is_floating_point() else x for x in parts)
        restored = self.local[self.stages - 1].restored

        def loss(target: Tensor, *tensors: Tensor) -> Tensor:
            return check_scalar(self.sample_loss(restored(tensors), target))

        samples = self.perturbation.samples_of(*targets.shape[1:3])
        rows = [samples.spread(x) for x in (targets[0], *parts)]
        try:
            if len(rows[0]) > 1:
                mean = mean_over_samples(loss, rows, self.loss)
            else:
                mean = loss(*(x[0] for x in rows))
        except Exception as error:
            shapes = ", ".join(str(tuple(x.shape[1:])) for x in parts)
            raise RuntimeError(
                f"the loss failed on outputs of shape {shapes} and targets of shape "
                f"{tuple(targets.shape[2:])}: {error}"
            ) from error
        self._check_perturbed(mean, parts)
        return mean

    def _check_perturbed(self, loss: Tensor, outputs: Sequence[Tensor]) -> None:
        """Refuse, once, a loss that uses parameters past their stage, which perturbs them."""
        stage = self.local[self.stages - 1]
        sigmas = self.perturbation.sigmas(stage.names, stage.step)
        if self._checked or not any(sigmas.values()):
            return
        self._checked = True
        items = (named for own in self.local.values() for named in own.trainable().items())
        check_uses_none(loss, outputs, {name: p for name, p in items if sigmas[name] > 0})


@contextmanager
def _without_torchs_table() -> Iterator[None]:
    """Where a step fails torch logs the whole schedule, in which nobody finds what was wrong."""
    logger = logging.getLogger("torch.distributed.pipelining.schedules")

    def keeps(record: logging.LogRecord) -> bool:
        return record.levelno != logging.ERROR

    logger.addFilter(keeps)
    try:
        yield
    finally:
        logger.removeFilter(keeps)
