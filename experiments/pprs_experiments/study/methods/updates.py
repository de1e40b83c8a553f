"""How a step is taken, where neither torch nor `pprs.optim` has it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pprs._arguments import counts, non_negative, positive
from pprs.optim.registry import OPTIMIZERS, KnownOptimizer
from pprs_experiments.study.methods.method import Update


class Subgradient:
    r"""$\theta_{t+1} = \theta_t - \eta\, g_t / \sqrt{t + 1}$.

    Args:
        parameters: $\theta$.
        lr: $\eta$, at least 0.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        non_negative(lr=lr)
        self.parameters, self.lr, self.taken = list(parameters), lr, 0

    def step(self) -> None:
        """Take one."""
        self.taken += 1
        _add(self.parameters, _gradients(self.parameters), -self.lr / math.sqrt(self.taken))


class Delayed:
    r"""$\theta_{t+1} = \theta_t - \eta\, g_{t-\tau}$: asynchronous descent, as PipeDream's.

    Args:
        parameters: $\theta$.
        lr: $\eta$, at least 0.
        delay: $\tau$, at least 0.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, delay: int) -> None:
        non_negative(lr=lr, delay=delay)
        self.parameters, self.lr, self.delay = list(parameters), lr, delay
        self.under_way: deque[list[Tensor]] = deque()

    def step(self) -> None:
        """Start with the present gradients; apply those that arrive."""
        self.under_way.append(_gradients(self.parameters))
        if len(self.under_way) > self.delay:
            _add(self.parameters, self.under_way.popleft(), -self.lr)


class DualAveraging:
    r"""The accelerated method of Duchi, Bartlett and Wainwright (2012), unconstrained.

    As `pprs.theory.RandomizedSmoothing` has it. While training, the parameters hold $y_t$,
    where the gradients are to be taken with perturbations of `sigma`; the result is $x_t$.

    Args:
        parameters: where to start.
        lipschitz: L > 0.
        radius: R > 0.
        samples: number K of perturbations that a gradient is the mean of.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lipschitz: float, radius: float, samples: int
    ) -> None:
        positive(lipschitz=lipschitz, radius=radius)
        counts(samples=samples)
        self.parameters = list(parameters)
        self.lipschitz, self.radius, self.samples = lipschitz, radius, samples
        dimension = float(sum(p.numel() for p in self.parameters))
        self.scale = radius / math.sqrt(math.sqrt(dimension))
        self.theta, self.taken = 1.0, 0
        self.start, self.answer, self.mirror = (self._values() for _ in range(3))
        self.total = [torch.zeros_like(value) for value in self.start]

    @property
    def sigma(self) -> float:
        r"""The standard deviation $u \theta_t$ of the next gradient's perturbations."""
        return self.scale * self.theta

    def step(self) -> None:
        """Take one."""
        theta, self.taken = self.theta, self.taken + 1
        self.theta = 2 / (1 + math.sqrt(1 + 4 / theta**2))
        _add(self.total, _gradients(self.parameters), 1 / theta)
        eta = self.lipschitz * math.sqrt((self.taken + 1) / self.samples) / self.radius
        curvature = self.lipschitz / self.sigma + eta / self.theta
        pairs = zip(self.start, self.total, strict=True)
        self.mirror = [start - total / curvature for start, total in pairs]
        self.answer = _between(self.answer, self.mirror, theta)
        self._hold(_between(self.answer, self.mirror, self.theta))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The parameters hold $x_t$ inside the block."""
        kept = self._values()
        self._hold(self.answer)
        try:
            yield
        finally:
            self._hold(kept)

    def _values(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def _hold(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


class ScheduleFree:
    """Schedule-free SGD, from its authors' package.

    Args:
        parameters: to train.
        lr: at least 0.
        momentum: between 0 and 1.

    Raises:
        ModuleNotFoundError: without the package.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        try:
            package: Any = import_module("schedulefree")
        except ImportError as error:
            raise ModuleNotFoundError(
                "schedule-free SGD comes from the package schedulefree, which is not installed: "
                "pip install ./experiments"
            ) from error
        self.parameters = list(parameters)
        self.optimizer = package.SGDScheduleFree(self.parameters, lr=lr, momentum=momentum)
        self.optimizer.train()

    def step(self) -> None:
        """Take one."""
        self.optimizer.step()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The parameters hold the average inside the block."""
        kept = [p.detach().clone() for p in self.parameters]
        self.optimizer.eval()
        try:
            yield
        finally:
            self.optimizer.train()
            # Its own way back rounds: what is measured would change the run.
            with torch.no_grad():
                for parameter, value in zip(self.parameters, kept, strict=True):
                    parameter.copy_(value)


UPDATES: Mapping[str, KnownOptimizer[Update]] = {
    **OPTIMIZERS,
    "subgradient": KnownOptimizer("subgradient", Subgradient),
    "schedule-free": KnownOptimizer("schedule-free SGD", ScheduleFree, ("momentum",)),
}
"""All that take a step from gradients by a step size and options."""


def _gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.detach() for p in parameters]


@torch.no_grad()
def _add(values: Iterable[Tensor], added: Iterable[Tensor], factor: float) -> None:
    for value, addend in zip(values, added, strict=True):
        value.add_(addend, alpha=factor)


def _between(first: list[Tensor], second: list[Tensor], theta: float) -> list[Tensor]:
    return [(1 - theta) * a + theta * b for a, b in zip(first, second, strict=True)]
