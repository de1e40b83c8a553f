"""What takes the gradients of a run where its step size is searched."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pprs.optim import Centre
from pprs.smoothing import Perturbation
from pprs.training.stages import Stages


class StagedSteps:
    """Takes those of a run's stages: a `SearchedStep` passes the number of the step.

    Args:
        stages: of this process.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self.perturbation: Perturbation = stages.pipeline.perturbation

    @property
    def steps(self) -> int:
        """How many were taken."""
        return self._stages.pipeline.steps

    @steps.setter
    def steps(self, count: int) -> None:
        self._stages.pipeline.steps = count

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Those of this process, by name."""
        return self._stages.pipeline.named_parameters()

    def step(self, step: int, *, centres: Sequence[Centre]) -> Tensor:
        """Take the gradient at the best of several centres; the losses of all."""
        return self._stages.losses(step, centres)

    def total(self, values: Tensor) -> Tensor:
        """The sums of values over the processes of this copy."""
        return self._stages.pipeline.total(values)

    def owns(self, name: str) -> bool:
        """Whether this process is the one that counts a parameter."""
        return self._stages.pipeline.owns(name)


class GradientsThere:
    """Gives the gradients that a model has, as if they had just been taken.

    Args:
        model: its gradients are those at the time of the last `named_parameters()`.
        perturbation: of the run.
    """

    def __init__(self, model: nn.Module, perturbation: Perturbation) -> None:
        self._model = model
        self.perturbation = perturbation
        self.steps = 0
        self._gradients: list[tuple[nn.Parameter, Tensor | None]] = []

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Those of the model that are trained, by name."""
        found = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        self._gradients = [(parameter, parameter.grad) for parameter in found.values()]
        return found

    def step(self, *, centres: Sequence[Centre]) -> Tensor:
        """Put the gradients back, which a searched step puts away first."""
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        self.steps += 1
        return torch.zeros(len(centres))

    def total(self, values: Tensor) -> Tensor:
        """The values: there is one process."""
        return values

    def owns(self, name: str) -> bool:
        """Whether it counts a parameter: it does."""
        return True
