"""A network over several processes, whose step leaves the smoothed gradient in ``.grad``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage
from torch.func import vmap

from pprs.pipeline.cutting import (
    Chain,
    chain,
    full_names,
    measure,
    partition,
    partition_at,
    ties,
)
from pprs.pipeline.grid import Grid
from pprs.pipeline.relay import relay
from pprs.pipeline.schedule import (
    ScheduleName,
    check_pairs,
    check_schedule,
    default_microbatches,
    stages_each,
)
from pprs.pipeline.stage import PerturbedStage
from pprs.pipeline.timeline import Recorder, TimedStage, Timeline, gather
from pprs.smoothing import Law, NoiseLaw, Scale, Sigma, check_normalisation, fresh_seed

Balance: TypeAlias = Literal["parameters", "time"]
Tensors: TypeAlias = tuple[Tensor, ...]


class Pipeline:
    r"""The stages of a network that one process of the default process group holds.

    Every process builds the same ``network`` and passes the same arguments; each keeps its own
    consecutive pieces. Any optimizer over
    :meth:`named_parameters` can follow :meth:`step`: with :class:`pprs.AGD` it is Algorithm 1.

    For a fixed seed and number of microbatches the result does not depend on the number of stages
    and replicas, nor on the schedule.

    Args:
        network: layers that run one after the other, an ``nn.Sequential``; the result of
            :func:`chain`; or, with an example, any model that ``torch.export`` traces.
        loss: maps the outputs ``(m, ...)`` and the targets ``(m, ...)`` of one batch to a scalar.
        sigma: standard deviation of the perturbations, at least 0; 0 is a plain gradient. A
            number, a function of the step, or a dictionary from names to these, as for
            :func:`pprs.smooth`.
        samples: number K of perturbations per step.
        noise: ``"shared"`` by the whole batch, or ``"example"``, which is right for losses that
            are means over examples.
        antithetic: draw perturbations in pairs X, -X; a microbatch holds whole pairs.
        scale: ``"filter"`` multiplies sigma by the norm of each filter.
        microbatches: pieces that travel through the pipelines, a divisor of ``samples``; by
            default the smallest that gives every stage one.
        schedule: ``"gpipe"``, ``"1f1b"``, ``"looped-bfs"``, ``"interleaved-1f1b"``,
            ``"interleaved-zero-bubble"``, ``"zb-v"`` or ``"dualpipe-v"``.
        stages_per_rank: stages that each process holds: any number for the looped and interleaved
            schedules (2 by default), 2 for the V-shaped ones, 1 for the others.
        replicas: copies of the pipeline, which share the microbatches. Processes
            ``0 .. ranks - 1`` are the first copy's, and so on.
        seed: keys the noise; must be the same in all processes, so several need one.
        example: what the network takes, as for :func:`chain`; needed if it is no ``nn.Sequential``.
        balance: ``"parameters"``: cut so that the largest number of parameters of a stage is
            least; ``"time"``: so that the longest time forward and backward is, which the first
            process measures on the example.
        cut: the layers with which the second and every later stage begins, by name or number,
            instead.
        finite: end with an error when a loss is not finite, instead of going on.
        record: the number of steps, the last ones, whose :meth:`timeline` is kept; 0 records
            nothing, and costs nothing.
        device: where this process computes.
        group: the processes; all by default.

    Raises:
        ValueError: if the numbers do not fit each other.
        RuntimeError: for BatchNorm in training mode, or without a process group.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        sigma: Sigma = 0.0,
        samples: int = 1,
        noise: NoiseLaw = "shared",
        antithetic: bool = False,
        scale: Scale | None = None,
        microbatches: int | None = None,
        schedule: ScheduleName = "gpipe",
        stages_per_rank: int | None = None,
        replicas: int = 1,
        seed: int | None = None,
        example: Sequence[Tensor | Mapping[str, Any]] = (),
        balance: Balance = "parameters",
        cut: Sequence[str | int] | None = None,
        finite: bool = True,
        record: int = 0,
        device: torch.device | str = "cpu",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if not dist.is_initialized():
            raise RuntimeError(
                "a Pipeline needs torch.distributed's process group: call "
                "torch.distributed.init_process_group() first, under torchrun"
            )
        law = Law(sigma, samples, noise, antithetic, scale)
        each = stages_each(schedule, stages_per_rank)
        self.grid = Grid.of(dist.get_world_size(group), replicas)
        self.stages = self.grid.ranks * each
        check_normalisation(network)
        whole = network if isinstance(network, Chain) else chain(network, *example)
        names = [name for name, p in full_names(whole).items() if p.requires_grad]
        several = dist.get_world_size(group) > 1
        if seed is None and several and any(law.sigmas(names, 0).values()):
            count = dist.get_world_size(group)
            raise ValueError(f"{count} processes must draw the noise of one seed: pass seed=")
        if microbatches is None:
            microbatches = default_microbatches(law.pieces, self.stages, replicas)
        order = check_schedule(schedule, self.grid, each, samples, microbatches)
        check_pairs(law, microbatches)
        self.samples, self.microbatches = samples, microbatches
        self.device = torch.device(device)
        self.loss, self._finite = loss, finite
        self._group, self._across = self.grid.groups(group)
        self.replica, rank = divmod(dist.get_rank(group), self.grid.ranks)
        pieces = _cut(whole, self.stages, example, balance, cut, group)
        seed = fresh_seed() if seed is None else seed
        self.local = {
            number: PerturbedStage(Chain(*(whole[i] for i in pieces[number])), law, names, seed).to(
                self.device
            )
            for number in order.stages_of(rank, self.grid.ranks, each)
        }
        self.owners = order.owners(self.grid.ranks, each)
        self._schedule = schedule
        self._recorder = (
            Recorder(group=self._group, device=self.device, steps=record) if record else None
        )
        self._order, self._engines = order, dict[tuple[torch.Size, ...], Any]()

    @property
    def is_first(self) -> bool:
        """Whether this process holds the first stage, which reads the inputs."""
        return 0 in self.local

    @property
    def is_last(self) -> bool:
        """Whether this process holds the last stage, which reads the targets and has the loss."""
        return self.stages - 1 in self.local

    @property
    def steps(self) -> int:
        """How many steps were taken; it keys the noise of the next one."""
        return next(iter(self.local.values())).step

    @steps.setter
    def steps(self, count: int) -> None:
        for stage in self.local.values():
            stage.step = count

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """The trainable parameters of this process's stages, by names in the whole network."""
        return {n: p for stage in self.local.values() for n, p in stage.trainable().items()}

    def step(self, x: Tensor | Tensors, y: Tensor, *, accumulate: bool = False) -> Tensor | None:
        r"""Run K perturbations of a batch forward and backward; draw fresh noise each time.

        Leaves $G_t = \frac1K \sum_k \nabla f(\theta + \sigma X_k)$ in the ``.grad`` of this
        process's parameters, replacing what was there. A collective call: all processes must make
        it.

        Args:
            x: the inputs, shape ``(m, ...)``, or a tuple of them if the network takes several;
                read by the first stage, and everywhere for the shape. Another shape than before
                builds the engine anew, once.
            y: the targets, shape ``(m, ...)``; read by the last stage.
            accumulate: add to what is in ``.grad`` instead, with fresh noise. Divide the sum, or
                the step size, by the number of batches.

        Returns:
            The mean of the K losses, a scalar without graph, on the last stage; ``None`` elsewhere.

        Raises:
            RuntimeError: on the last stage, if a loss is not finite, unless ``finite=False``.
        """
        parameters = list(self.named_parameters().values())
        before = [p.grad if accumulate else None for p in parameters]
        for parameter in parameters:
            parameter.grad = None  # the engine divides all that is in it
        losses: list[Tensor] = []
        inputs = x if isinstance(x, tuple) else (x,)
        mine = self.microbatches // self.grid.replicas
        self._engine(tuple(tensor.shape for tensor in inputs)).step(
            *(map(self._repeated, inputs) if self.is_first else ()),
            target=self._repeated(y) if self.is_last else None,
            losses=losses if self.is_last else None,
            return_outputs=False,
            microbatch=torch.arange(self.replica * mine, (self.replica + 1) * mine),
        )
        loss = self._checked(torch.stack(losses).detach()) if self.is_last else None
        self.steps += 1
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.grid.average([*gradients, *([] if loss is None else [loss])], self._across)
        for parameter, earlier in zip(parameters, before, strict=True):
            if earlier is not None:
                parameter.grad = earlier if parameter.grad is None else earlier + parameter.grad
        return loss

    def clip_grad_norm_(self, max_norm: float) -> float:
        """Scale the gradients of all stages down to a global norm; a collective call.

        Args:
            max_norm: the largest norm, above 0, of the gradient by all parameters together.

        Returns:
            The norm before, the same in all processes.

        Raises:
            ValueError: if ``max_norm`` is not above 0.
        """
        if not max_norm > 0:
            raise ValueError(f"max_norm must be above 0, got {max_norm!r}")
        gradients = [p.grad for p in self.named_parameters().values() if p.grad is not None]
        squares = [gradient.double().square().sum() for gradient in gradients]
        total = torch.stack(squares).sum() if squares else torch.zeros((), dtype=torch.float64)
        total = total.to(self.device)
        dist.all_reduce(total, group=self._group)
        norm = total.sqrt().item()
        if norm > max_norm:
            torch._foreach_mul_(gradients, max_norm / norm)
        return norm

    def __call__(self, x: Tensor | Tensors) -> Tensor | None:
        """The outputs at the unperturbed parameters, on the last stage; a collective call.

        Args:
            x: as for :meth:`step`; read by the first stage. Any m will do.
        """
        chains = {number: stage.chain for number, stage in self.local.items()}
        with torch.no_grad():
            inputs = x if isinstance(x, tuple) else (x,)
            return relay(chains, self.owners, inputs, self.device, self._group)

    def timeline(self) -> Timeline | None:
        """What all processes of this copy did in the recorded steps; a collective call.

        Returns:
            The timeline, on the first process of the copy; ``None`` elsewhere.

        Raises:
            RuntimeError: if nothing was to be recorded.
        """
        if self._recorder is None:
            raise RuntimeError("no timeline was recorded: build the Pipeline with record=20, say")
        return gather(self._recorder, self._schedule)

    def from_last(self, value: object) -> Any:
        """What the last stage's process passes, in every process of its copy; a collective call."""
        shared = [value]
        dist.broadcast_object_list(shared, group=self._group, group_src=self.owners[-1])
        return shared[0]

    def _engine(self, shape: tuple[torch.Size, ...]) -> Any:
        # Its buffers keep the shape of their first batch.
        if shape not in self._engines:
            stages = [self._engine_stage(number) for number in self.local]
            self._engines[shape] = self._order.engine(
                stages[0] if self._order.placement == "single" else stages,
                self.microbatches // self.grid.replicas,
                loss_fn=self._recorder.timed_loss(self._mean_loss)
                if self._recorder
                else self._mean_loss,
            )
        return self._engines[shape]

    def _engine_stage(self, number: int) -> PipelineStage:
        where = (self.local[number], number, self.stages, self.device)
        if self._recorder is None:
            return PipelineStage(*where, group=self._group)
        return TimedStage(*where, recorder=self._recorder, group=self._group)

    def _checked(self, losses: Tensor) -> Tensor:
        if self._finite and not losses.isfinite().all():
            bad = int(losses.isfinite().logical_not().nonzero()[0])
            first = self.replica * len(losses)
            raise RuntimeError(
                f"step {self.steps}: the loss of microbatch {first + bad} is "
                f"{losses[bad].item()}, on the last stage ({self.stages - 1}, rank "
                f"{dist.get_rank()}); a smaller lr or sigma may help"
            )
        return losses.mean()

    def _repeated(self, batch: Tensor) -> Tensor:
        # A view: the copies that the engine chunks into microbatches share their memory.
        return batch.to(self.device).expand(self.samples // self.grid.replicas, *batch.shape)

    def _mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        law = next(iter(self.local.values())).law
        losses: Tensor = vmap(self.loss)(law.spread(outputs), law.spread(targets))
        return losses.mean()


def _cut(
    whole: Chain,
    stages: int,
    example: Sequence[Tensor | Mapping[str, Any]],
    balance: Balance,
    cut: Sequence[str | int] | None,
    group: dist.ProcessGroup | None,
) -> list[range]:
    tied = ties(whole)
    if cut is not None:
        if len(cut) != stages - 1:
            raise ValueError(
                f"cut names where the second and every later stage begins: {stages} stages have "
                f"{stages - 1} of these, got {len(cut)}"
            )
        return partition_at(whole.layers, cut, ties=tied)
    if balance == "parameters":
        sizes = [sum(p.numel() for p in piece.parameters()) for piece in whole]
        return partition(sizes, stages, ties=tied)
    if balance != "time":
        raise ValueError(f"balance must be 'parameters' or 'time', got {balance!r}")
    if not example:
        raise ValueError("balance='time' measures the network on an example: pass example=")
    measured: list[Any] = [None]
    if dist.get_rank(group) == 0:  # one measures for all, who must cut alike
        tensors = [x for x in example if isinstance(x, Tensor)]
        options = [v for m in example if isinstance(m, Mapping) for v in m.values()]
        measured = [measure(whole, *tensors, *(v for v in options if isinstance(v, Tensor)))]
    dist.broadcast_object_list(measured, group=group, group_src=0)
    return partition(measured[0], stages, ties=tied)
