"""A network over several processes, whose step leaves the smoothed gradient in ``.grad``."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.func import vmap

from pprs.pipeline.partition import partition
from pprs.pipeline.schedule import (
    ScheduleName,
    check_pairs,
    default_microbatches,
    schedule_class,
)
from pprs.pipeline.stage import PerturbedStage
from pprs.smoothing import Law, NoiseLaw, Scale, Sigma, check_normalisation, fresh_seed


class Pipeline:
    r"""One stage of a network per process of the default process group.

    Every process builds the same ``network`` and passes the same arguments; each keeps its own
    consecutive piece, balanced by number of parameters. Any optimizer over :meth:`parameters` can
    follow :meth:`step`: with :class:`pprs.AGD` it is Algorithm 1.

    For a fixed seed and number of microbatches the result does not depend on the number of stages
    nor on the schedule.

    Args:
        network: layers that run one after the other.
        loss: maps the outputs ``(m, ...)`` and the targets ``(m, ...)`` of one batch to a scalar.
        sigma: standard deviation of the perturbations, at least 0; 0 is a plain gradient. A
            number, a function of the step, or a dictionary from names to these, as for
            :func:`pprs.smooth`.
        samples: number K of perturbations per step.
        noise: ``"shared"`` by the whole batch, or ``"example"``, which is right for losses that
            are means over examples.
        antithetic: draw perturbations in pairs X, -X; a microbatch holds whole pairs.
        scale: ``"filter"`` multiplies sigma by the norm of each filter.
        microbatches: pieces that travel through the pipeline, a divisor of ``samples``; by default
            the smallest that gives every stage one.
        schedule: ``"gpipe"`` or ``"1f1b"``.
        seed: keys the noise; must be the same in all processes, so several need one.
        device: where this process computes.
        group: the processes that hold the stages, in order; all by default.

    Raises:
        ValueError: if the numbers do not fit each other.
        RuntimeError: for BatchNorm in training mode, or without a process group.
    """

    def __init__(
        self,
        network: nn.Sequential,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        sigma: Sigma = 0.0,
        samples: int = 1,
        noise: NoiseLaw = "shared",
        antithetic: bool = False,
        scale: Scale | None = None,
        microbatches: int | None = None,
        schedule: ScheduleName = "gpipe",
        seed: int | None = None,
        device: torch.device | str = "cpu",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if not dist.is_initialized():
            raise RuntimeError(
                "a Pipeline needs torch.distributed's process group: call "
                "torch.distributed.init_process_group() first, under torchrun"
            )
        self.index, self.stages = dist.get_rank(group), dist.get_world_size(group)
        law = Law(sigma, samples, noise, antithetic, scale)
        names = [name for name, p in network.named_parameters() if p.requires_grad]
        if seed is None and self.stages > 1 and any(law.sigmas(names, 0).values()):
            raise ValueError(f"{self.stages} processes must draw the noise of one seed: pass seed=")
        check_normalisation(network)
        if microbatches is None:
            microbatches = default_microbatches(law.pieces, self.stages)
        chosen = schedule_class(schedule, self.stages, samples, microbatches)
        check_pairs(law, microbatches)
        self.samples, self.microbatches = samples, microbatches
        self.device, self._group = torch.device(device), group
        self.loss = loss
        children = dict(network.named_children())
        layers = {name: children[name] for name in _cut(network, self.stages)[self.index]}
        seed = fresh_seed() if seed is None else seed
        self.stage = PerturbedStage(layers, law, names, seed).to(self.device)
        self._training = chosen(self._stage(self.stage), microbatches, loss_fn=self._mean_loss)
        self._evaluation: dict[torch.Size, ScheduleGPipe] = {}

    @property
    def is_first(self) -> bool:
        """Whether this process holds the first stage, which reads the inputs."""
        return self.index == 0

    @property
    def is_last(self) -> bool:
        """Whether this process holds the last stage, which reads the targets and has the loss."""
        return self.index == self.stages - 1

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """This stage's trainable parameters, by their names in the whole network."""
        return self.stage.trainable()

    def step(self, x: Tensor, y: Tensor) -> Tensor | None:
        r"""Run K perturbations of a batch forward and backward; draw fresh noise each time.

        Leaves $G_t = \frac1K \sum_k \nabla f(\theta + \sigma X_k)$ in the ``.grad`` of this stage's
        parameters, replacing what was there. A collective call: all processes must make it.

        Args:
            x: the inputs, shape ``(m, ...)``; read by the first stage. The shape must stay the same
                from step to step.
            y: the targets, shape ``(m, ...)``; read by the last stage.

        Returns:
            The mean of the K losses, a scalar without graph, on the last stage; ``None`` elsewhere.
        """
        for parameter in self.stage.parameters():
            parameter.grad = None
        losses: list[Tensor] = []
        self._training.step(
            *((self._repeated(x),) if self.is_first else ()),
            target=self._repeated(y) if self.is_last else None,
            losses=losses if self.is_last else None,
            return_outputs=False,
            microbatch=torch.arange(self.microbatches),
        )
        self.stage.step += 1
        return torch.stack(losses).detach().mean() if self.is_last else None

    def __call__(self, x: Tensor) -> Tensor | None:
        """The outputs at the unperturbed parameters, on the last stage; a collective call.

        Args:
            x: inputs, shape ``(m, ...)``; read by the first stage, and everywhere for its shape.
        """
        if x.shape not in self._evaluation:
            self._evaluation[x.shape] = ScheduleGPipe(self._stage(self.stage.chain), 1)
        with torch.no_grad():
            output: Tensor | None = self._evaluation[x.shape].step(
                *((x.to(self.device),) if self.is_first else ())
            )
        return output

    def _stage(self, module: nn.Module) -> PipelineStage:
        return PipelineStage(module, self.index, self.stages, self.device, group=self._group)

    def _repeated(self, batch: Tensor) -> Tensor:
        # A view: the K copies that the engine chunks into microbatches share their memory.
        return batch.to(self.device).expand(self.samples, *batch.shape)

    def _mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        law = self.stage.law
        losses: Tensor = vmap(self.loss)(law.spread(outputs), law.spread(targets))
        return losses.mean()


def _cut(network: nn.Sequential, stages: int) -> list[list[str]]:
    names = [name for name, _ in network.named_children()]
    costs = [sum(p.numel() for p in layer.parameters()) for layer in network.children()]
    return [[names[i] for i in piece] for piece in partition(costs, stages)]
