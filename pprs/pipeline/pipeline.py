"""A network over several processes, whose step leaves the smoothed gradient in `.grad`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.optim import Centre
from pprs.pipeline import arguments
from pprs.pipeline.candidates import Candidates
from pprs.pipeline.captured_step import CapturedStep
from pprs.pipeline.clipping import clip, total
from pprs.pipeline.communication import broadcast
from pprs.pipeline.engine import Engine
from pprs.pipeline.finite import check_finite
from pprs.pipeline.forward_pass import forward_pass
from pprs.pipeline.launcher import report_progress
from pprs.pipeline.mesh import Mesh
from pprs.pipeline.microbatches import Microbatches, Split
from pprs.pipeline.modes import Modes
from pprs.pipeline.noise_size import NoiseSize
from pprs.pipeline.partitioner import Balance, Memory, chain, cut_chain, full_names
from pprs.pipeline.schedule import SCHEDULES, ScheduleName, check_recompute, stages_each
from pprs.pipeline.selfcheck import Replicas, SelfCheck
from pprs.pipeline.stage import stages_of
from pprs.pipeline.step_agreement import Lockstep, agreed_inputs, agreed_step, check_alike
from pprs.pipeline.tied import Tied
from pprs.pipeline.trace import Recorder, Timeline, gather
from pprs.smoothing import NoiseKind, Perturbation, Scale, Sigma, StepGradients, default

Tensors: TypeAlias = tuple[Tensor, ...]


class Pipeline:
    r"""The stages of a network that one process of the default process group holds.

    Every process builds the same `network` and passes the same arguments; each keeps its own
    consecutive pieces. Any optimizer over `named_parameters` can follow `step`: with
    `pprs.AGD` it is Algorithm 1. For a fixed seed, split and number of microbatches the
    result does not depend on the number of stages and replicas, nor on the schedule.

    Args:
        network: layers that run one after the other, an `nn.Sequential`; the result of
            `chain`; or, with an example, any model that `torch.export` traces.
        loss: maps the outputs `(m, ...)` and the targets `(m, ...)` of one batch to a scalar;
            of a network that gives a tuple or a dictionary of tensors, these.
        perturbation: all that is said of the perturbations, instead of the next five.
        sigma: standard deviation, at least 0; 0 is a plain gradient. A number, a function of the
            step, or a dictionary from names to these, as for `pprs.smooth`.
        samples: number K of perturbations per step.
        noise: `"shared"` by the whole batch, or `"example"`, for losses that are a mean over them.
        antithetic: draw perturbations in pairs X, -X; a microbatch holds whole pairs.
        scale: `"filter"` multiplies sigma by the norm of each filter.
        split: what the microbatches divide. `"perturbations"`: each carries some of the K, of the
            whole batch. `"examples"`: each carries some of the examples, at K perturbations of
            its own, so that the loss must be a mean over examples; without noise this is the usual
            minibatch of a pipeline.
        microbatches: pieces that travel through the pipelines, by default the smallest number that
            gives every stage one. It divides `samples`; of examples, the largest number up to
            this one is taken that divides the batch. `"auto"`: the first step measures which
            number is fastest.
        schedule: `"gpipe"`, `"1f1b"`, `"looped-bfs"`, `"interleaved-1f1b"`,
            `"interleaved-zero-bubble"`, `"zb-v"` or `"dualpipe-v"`.
        stages_per_rank: stages that each process holds: any number for the looped and interleaved
            schedules (2 by default), 2 for the V-shaped ones, 1 for the others.
        replicas: copies of the pipeline, which share the microbatches. Processes
            `0 .. ranks - 1` are the first copy's, and so on.
        seed: keys the noise; must be the same in all processes, so several need one.
        example: what the network takes, as for `chain`; needed if it is no `nn.Sequential`.
        balance: what is minimised: `"parameters"`, the largest number of parameters of a stage;
            `"time"`, the longest time of a stage, forward and backward, which the first
            process measures on the example.
        cut: the layers, by name or number, with which the second and later stages begin, instead.
        memory: what a stage may keep in memory, with `balance="time"`.
        recompute: keep only the inputs of a stage for the backward pass and run it again then:
            less memory, for the time of another forward. Not with schedules that split a backward.
        finite: end with an error when a loss is not finite, instead of going on.
        check: compare outputs and gradients with those of `network` before the first step, on a
            few examples, and refuse to train if they differ; warn of a bad sigma, see `NoiseSize`.
        record: the number of last steps whose `timeline` is kept; 0 costs nothing.
        capture: record the step of one stage in one process, and run that again: `pprs.capture`.
        device: where this process computes.
        group: the processes; all by default.

    Raises:
        ValueError: if the numbers do not fit each other.
        RuntimeError: for BatchNorm in training mode, or without a process group.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Any, Tensor], Tensor],
        *,
        perturbation: Perturbation | None = None,
        sigma: Sigma = default(0.0),
        samples: int = default(1),
        noise: NoiseKind = default("shared"),
        antithetic: bool = default(False),
        scale: Scale | None = default(None),
        split: Split = "perturbations",
        microbatches: int | Literal["auto"] | None = None,
        schedule: ScheduleName = "gpipe",
        stages_per_rank: int | None = None,
        replicas: int = 1,
        seed: int | None = None,
        example: Sequence[Tensor | Mapping[str, Any]] = (),
        balance: Balance = "parameters",
        cut: Sequence[str | int] | None = None,
        memory: Memory | None = None,
        recompute: bool = False,
        finite: bool = True,
        check: bool = True,
        record: int = 0,
        capture: bool = False,
        device: torch.device | str = "cpu",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        arguments.check(locals())
        perturbation = Perturbation.of(perturbation, sigma, samples, noise, antithetic, scale)
        each = stages_each(schedule, stages_per_rank)
        self.mesh = Mesh.of(dist.get_world_size(group), replicas)
        self.stages = self.mesh.ranks * each
        whole = chain(network, *example, stages=self.stages)
        names = arguments.trainable(full_names(whole))
        world = dist.get_world_size(group)
        if seed is None and world > 1 and any(perturbation.sigmas(names, 0).values()):
            raise ValueError(f"{world} processes must draw the noise of one seed: pass seed=")
        self.perturbation = perturbation
        self._tune = self._auto = microbatches == "auto"  # decided in the first step
        number = None if microbatches == "auto" else microbatches
        self._divided = Microbatches(perturbation, split, schedule, self.mesh, each, number)
        self._number: int | None = None  # in the last step
        placement = SCHEDULES[schedule]
        check_recompute(schedule, recompute)
        how: dict[str, Any] = {"balance": balance, "cut": cut, "memory": memory}
        alike: dict[str, object] = {
            "schedule": (schedule, each, replicas),
            "microbatches": (split, microbatches),
        }
        alike |= {"seed": seed, "recompute": recompute, "cut": how}
        check_alike(perturbation, names, whole, group, **alike)
        self.device = arguments.checked_device(device)
        self._finite, self._schedule = finite, schedule
        self._everyone, self._lockstep = group, Lockstep(group)
        self._group, self._across = self.mesh.groups(group)
        self.replica, rank = divmod(dist.get_rank(group), self.mesh.ranks)
        pieces = cut_chain(whole, self.stages, example=example, group=group, **how)
        numbers = placement.stages_of(rank, self.mesh.ranks, each)
        local = stages_of(whole, pieces, numbers, perturbation, names, seed, recompute=recompute)
        self.local = {number: stage.to(self.device) for number, stage in local.items()}
        self._modes = Modes(self.local.values(), whole)
        self.owners = placement.owners(self.mesh.ranks, each)
        self.tied = Tied.of(whole, pieces, self.owners, self.local, self.device, self._group)
        of: dict[str, Any] = {"group": self._group, "device": self.device}
        self._recorder = Recorder(**of, steps=record) if record else None
        what = self.stages, self.local, self.owners, loss, perturbation, self.replica
        self._engine = Engine(*what, **of, everyone=group, watchful=check)
        once = not (recompute or record)
        self.captured = CapturedStep(self._engine, alone=once) if capture else None
        self._copies = Replicas(self.mesh, self.owners, self._across, group, self.tied)
        self._check = SelfCheck(whole, self._engine, self._copies) if check else None
        self.noise_size = NoiseSize(self._engine) if check and self.replica == 0 else None
        self.checked = ""  # what the first step compared

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

    def owns(self, name: str) -> bool:
        """Whether this process is the one, of those that hold a tied parameter, that counts it."""
        return self.tied.owned(name)

    @property
    def microbatches(self) -> int | None:
        """The number of microbatches of a step; `None` before a first step that measures it."""
        if self._number is None and not self._tune and self._divided.split == "perturbations":
            return self._divided.chosen(batch=1)
        return self._number

    def train(self, mode: bool = True) -> None:
        """Put this process's stages into training mode, all but what a user kept out of it."""
        self._modes.switch(mode)

    def eval(self) -> None:
        """Put this process's stages into evaluation mode."""
        self.train(False)

    def step(
        self,
        x: Tensor | Tensors,
        y: Tensor,
        *,
        accumulate: bool = False,
        centres: Sequence[Centre] | None = None,
    ) -> Tensor | None:
        r"""Run K perturbations of a batch forward and backward; draw fresh noise each time.

        Leaves $G_t = \frac1K \sum_k \nabla f(\theta + \sigma X_k)$ in the `.grad` of this
        process's parameters, replacing what was there. A collective call of all processes.

        Args:
            x: the inputs, shape `(m, ...)`, or a tuple of them if the network takes several. The
                ranks with the first and the last stage pass the same batch, which is compared;
                those between anything of its shape. Each shape and type builds the engine anew.
            y: the targets, shape `(m, ...)`; read by the last stage. The rank with the first one
                may pass `None`: then they are not compared.
            accumulate: add to what is in `.grad` instead, with fresh noise. Divide the sum, or
                the step size, by the number of batches.
            centres: J candidates for this process's parameters, by the names of
                `named_parameters`, that share the perturbations and microbatches evenly, with the
                same noise. Parameters and `.grad` get those of the smallest finite loss, or stay
                as they are, and the step does not count. Each needs memory for both.

        Returns:
            The mean of the K losses, a scalar without graph, on the last stage; `None` elsewhere.
            Of centres the mean losses, shape `(J,)`, on all ranks.

        Raises:
            NotFiniteError: on the last stage, if a loss is not finite, unless `finite=False`.
            ValueError: on all ranks alike, if they pass different batches, or call it under
                different precision or gradient modes.
            RuntimeError: under `torch.no_grad()`, or after a step of several ranks has failed.
            UnlikeError: in the first step, on all ranks, if the pipeline is not the network.
        """
        inputs = x if isinstance(x, tuple) else (x,)
        arguments.check_batch(inputs, y, last=self.is_last)
        report_progress(list(self.local), self.steps)
        self._lockstep.check()
        read = (inputs, y) if self.is_first or self.is_last else ((), None)
        parameters = self.named_parameters()
        candidates = Candidates.of(parameters, centres, accumulate)
        number = 1 if candidates is None else len(candidates)
        agreed = agreed_step(
            inputs, read, self.local, self.device, self._everyone, number, self.tied
        )
        if number != self._divided.candidates:
            self._divided, self._tune = self._divided.shared_by(number, self._auto), self._auto
        gradients = StepGradients(parameters.values(), accumulate=accumulate)
        with gradients.alone(), self._lockstep.watched():
            losses = self._losses(inputs, y, agreed, candidates)
        if candidates is not None and not candidates.keep_best():
            gradients.put_back()
            return losses
        loss = losses.mean() if losses is not None and candidates is None else None
        if losses is not None and candidates is None and self._finite:
            check_finite(losses, y, self._divided, self.replica, self.steps)
        if self.noise_size is not None:
            self.noise_size.compare(self._divided, inputs, y, losses, self.steps)
        self.steps += 1
        self._copies.combine(parameters.values(), loss)
        gradients.close()
        return loss if candidates is None else losses

    def _losses(
        self, inputs: Tensors, y: Tensor, agreed: object, candidates: Candidates | None
    ) -> Tensor | None:
        """Leave the gradient of this copy in `.grad`; its losses, or all candidates'."""
        inputs = tuple(x.detach() for x in inputs)  # the gradients are the parameters' only
        if self._tune:
            self._divided = self._engine.tuned(self._divided, inputs, y, agreed)
            self._tune = False
        self._number = self._divided.chosen(len(inputs[0]))
        if self._check is not None:
            self._check.compare(self._divided, self._number, inputs, y)
            self.checked, self._check = self._check.said, None
        work = self._divided, self._number, inputs, y, agreed
        if self.captured is None:
            losses = self._engine.run(*work, self._recorder, candidates)
        else:
            losses = self.captured.run(*work, candidates)
        return candidates.gather(losses, self.device, self._everyone) if candidates else losses

    def clip_grad_norm_(self, max_norm: float) -> float:
        """Scale the gradients of all stages down to a global norm; a collective call.

        Args:
            max_norm: the largest norm, above 0, of the gradient by all parameters together.

        Returns:
            The norm before, the same in all processes.

        Raises:
            ValueError: if `max_norm` is not above 0.
        """
        named = {n: p.grad for n, p in self.named_parameters().items() if p.grad is not None}
        counted = [gradient for name, gradient in named.items() if self.owns(name)]
        return clip([*named.values()], counted, max_norm, self.device, self._group)

    def total(self, values: Tensor) -> Tensor:
        """The sums of values over the processes of this copy; a collective call."""
        return total(values, self.device, self._group)

    def __call__(self, x: Tensor | Tensors) -> Any:
        """The outputs at the unperturbed parameters, on the last stage; a collective call.

        Args:
            x: as for `step`; read by the first stage, and compared with what the rank with
                the last one passes, unless that is an empty tuple. Any m will do.

        Raises:
            ValueError: on all ranks alike, if those two pass different inputs.
        """
        inputs = x if isinstance(x, tuple) else (x,)
        if self.is_first:
            arguments.check_inputs(inputs)
        read = inputs if self.is_first or self.is_last else ()
        agreed_inputs(read, self.local, self.device, self.tied)
        stages = {number: stage.unperturbed for number, stage in self.local.items()}
        with torch.no_grad():
            return forward_pass(stages, self.owners, inputs, self.device, self._group)

    def timeline(self) -> Timeline | None:
        """What all processes of this copy did in the recorded steps; a collective call.

        Returns:
            The timeline, on the first process of the copy; `None` elsewhere.

        Raises:
            RuntimeError: if nothing was to be recorded.
        """
        return gather(self._recorder, self._schedule)

    def from_last(self, value: object) -> Any:
        """What the last stage's process passes, in every process of its copy; a collective call."""
        return broadcast(value, self.owners[-1], self._group)
