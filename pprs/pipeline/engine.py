"""Runs the microbatches of a step on torch's schedules."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import PipelineStage
from torch.func import vmap

from pprs.pipeline.microbatches import Microbatches
from pprs.pipeline.stage import PerturbedStage
from pprs.pipeline.timeline import Recorder, TimedStage
from pprs.pipeline.tuning import best_microbatches
from pprs.smoothing import Law

_TRIALS = 3  # steps for each number of microbatches that is tried, after a first one


@dataclass
class Engine:
    """One process's part of a copy of the pipeline.

    Args:
        stages: of a copy.
        local: those of this process, by number.
        loss: of one batch.
        law: of the perturbations.
        replica: which copy.
        device: where this process computes.
        group: the processes of the copy.
        everyone: those of all copies.
    """

    stages: int
    local: Mapping[int, PerturbedStage]
    loss: Callable[[Any, Tensor], Tensor]
    law: Law
    replica: int
    device: torch.device
    group: dist.ProcessGroup | None
    everyone: dist.ProcessGroup | None
    _built: dict[Any, Any] = field(default_factory=dict)

    def run(
        self,
        divided: Microbatches,
        number: int,
        inputs: tuple[Tensor, ...],
        y: Tensor,
        recorder: Recorder | None = None,
    ) -> Tensor | None:
        """Leave the mean gradient of this copy's microbatches in ``.grad``; a collective call.

        Args:
            divided: how the work is.
            number: of microbatches of all copies.
            inputs: of the whole batch.
            y: the targets.
            recorder: of what is done when.

        Returns:
            The losses of this copy's microbatches, on the last stage.
        """
        for stage in self.local.values():
            stage.zero_grad()  # torch's schedules divide all that is in it
        losses: list[Tensor] = []
        last = self.stages - 1 in self.local
        own = number // divided.grid.replicas

        def laid_out(batch: Tensor) -> Tensor:
            # A view: what is cut into microbatches shares its memory.
            return divided.laid_out(batch.to(self.device), number, self.replica)

        self._schedule(divided, number, inputs, recorder).step(
            *(map(laid_out, inputs) if 0 in self.local else ()),
            target=laid_out(y) if last else None,
            losses=losses if last else None,
            return_outputs=False,
            microbatch=torch.arange(self.replica * own, (self.replica + 1) * own, device="cpu"),
        )
        return torch.stack(losses).detach() if last else None

    def tuned(self, divided: Microbatches, inputs: tuple[Tensor, ...], y: Tensor) -> Microbatches:
        """The same with the number of microbatches that is fastest; a collective call."""

        def seconds(number: int) -> float:
            spent = [self._seconds(divided, number, inputs, y) for _ in range(1 + _TRIALS)]
            slowest = torch.tensor(spent[1:], dtype=torch.float64, device=self.device)
            dist.all_reduce(slowest, dist.ReduceOp.MAX, group=self.everyone)
            return float(statistics.median(slowest.tolist()))

        possible = divided.possible(len(inputs[0]))
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            number = best_microbatches(possible, divided.slots, seconds)
        return replace(divided, number=number)

    def _seconds(
        self, divided: Microbatches, number: int, inputs: tuple[Tensor, ...], y: Tensor
    ) -> float:
        dist.barrier(group=self.everyone)
        start = time.perf_counter()
        self.run(divided, number, inputs, y)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def _schedule(
        self,
        divided: Microbatches,
        number: int,
        inputs: tuple[Tensor, ...],
        recorder: Recorder | None,
    ) -> Any:
        # Its buffers keep the shape of their first batch.
        key = number, tuple(tensor.shape for tensor in inputs), recorder is None
        if key not in self._built:
            order = divided.order(number, len(inputs[0]))
            stages = [self._stage(stage, recorder) for stage in self.local]
            loss = recorder.timed_loss(self._mean_loss) if recorder else self._mean_loss
            self._built[key] = order.engine(
                stages[0] if order.placement == "single" else stages,
                number // divided.grid.replicas,
                loss_fn=loss,
            )
        return self._built[key]

    def _stage(self, number: int, recorder: Recorder | None) -> PipelineStage:
        where = (self.local[number], number, self.stages, self.device)
        if recorder is None:
            return PipelineStage(*where, group=self.group)
        return TimedStage(*where, recorder=recorder, group=self.group)

    def _mean_loss(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor) -> Tensor:
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        if torch.is_autocast_enabled(self.device.type):
            # Autocast would do so for losses, but vmap passes it by.
            parts = tuple(x.float() if x.is_floating_point() else x for x in parts)
        restored = self.local[self.stages - 1].restored

        def loss(target: Tensor, *tensors: Tensor) -> Tensor:
            return self.loss(restored(tensors), target)

        try:
            losses: Tensor = vmap(loss)(*map(self.law.spread, (targets[0], *parts)))
            return losses.mean()
        except Exception as error:
            shapes = ", ".join(str(tuple(x.shape[1:])) for x in parts)
            raise RuntimeError(
                f"the loss failed on outputs of shape {shapes} and targets of shape "
                f"{tuple(targets.shape[2:])}: {error}"
            ) from error
