"""Estimators of the gradient, which leave it in the parameters' `.grad`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from pprs._arguments import counts, non_negative
from pprs.smoothing import Noise, Perturbation, Role, check_model, losses_at
from pprs_experiments.study.cost import Price
from pprs_experiments.study.problem import Batch, Problem, drawing

Progress: TypeAlias = Callable[[float], float]
"""The spent part of the budget, from 0 to below 1, to a value."""


class Gradient(ABC):
    """An estimate of the gradient of a problem.

    Args:
        problem: of which.
        seed: of everything drawn.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.parameters = check_model(problem.model)

    @property
    def price(self) -> Price:
        """The price of one estimate."""
        return self.problem.price()

    def take(self, step: int, progress: float) -> Tensor:
        """Leave the estimate in `.grad`.

        Args:
            step: the number of the estimate, from 0; it keys what is drawn.
            progress: which part of the budget is spent, from 0 to below 1.

        Returns:
            A loss that it met, without graph.
        """
        batch = self._batch(step)
        batch = self.problem.attacked(batch, drawing(self.seed, "attack", step))
        self._clear()
        return self._take(batch, step, progress)

    def _batch(self, step: int) -> Batch:
        return self.problem.batch

    @abstractmethod
    def _take(self, batch: Batch, step: int, progress: float) -> Tensor: ...

    def _clear(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    def _backward(self, loss: Tensor) -> Tensor:
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


class Plain(Gradient):
    """The gradient of all training examples."""

    def _take(self, batch: Batch, step: int, progress: float) -> Tensor:
        return self._backward(self.problem.loss(*batch))


class Minibatch(Plain):
    """The gradient of a part of the training examples, each of which comes once in an epoch.

    Args:
        problem: of which.
        seed: draws the orders.
        part: of the examples, above 0 and at most 1; at least one is taken.

    Raises:
        ValueError: for a part out of its range.
    """

    def __init__(self, problem: Problem, seed: int, part: float) -> None:
        super().__init__(problem, seed)
        if not 0 < part <= 1:
            raise ValueError(f"batch is a part of the examples: above 0 up to 1, got {part!r}")
        self.rows = max(1, round(part * problem.examples))

    @property
    def price(self) -> Price:
        """The price of one estimate."""
        return self.problem.price(rows=self.rows)

    def _batch(self, step: int) -> Batch:
        if self.rows == self.problem.examples:
            return self.problem.batch
        # What does not fill a minibatch at the end of an epoch waits for another order.
        epoch, number = divmod(step, self.problem.examples // self.rows)
        order = torch.randperm(
            self.problem.examples, generator=drawing(self.seed, "examples", epoch)
        )
        return self.problem.chosen(order[number * self.rows :][: self.rows])


class Sharpened(Gradient):
    r"""SAM: the gradient at $\theta + \rho \, g / \|g\|$, where g is that at $\theta$.

    From Foret et al., Sharpness-aware minimization for efficiently improving generalization, 2021.

    Args:
        problem: of which.
        seed: of everything drawn.
        rho: how far to go, at least 0.
    """

    def __init__(self, problem: Problem, seed: int, rho: float) -> None:
        super().__init__(problem, seed)
        non_negative(rho=rho)
        self.rho = rho

    @property
    def price(self) -> Price:
        """The price of one estimate: the second gradient waits for the first."""
        return self.problem.price() + self.problem.cost.price()

    def _take(self, batch: Batch, step: int, progress: float) -> Tensor:
        loss = self._backward(self.problem.loss(*batch))
        moved = [p for p in self.parameters.values() if p.grad is not None]
        gradients = [p.grad for p in moved if p.grad is not None]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        pairs = zip(moved, gradients, strict=True)
        above = [p.data + self.rho / (norm + 1e-12) * gradient for p, gradient in pairs]
        self._clear()
        with _holding(moved, above):
            self._backward(self.problem.loss(*batch))
        return loss


class LowPass(Gradient):
    r"""LPF-SGD: the batch is split, and each part sees other perturbed parameters.

    Their standard deviation is $\sigma$ times the norm of each filter. From Bisla, Wang and
    Choromanska, Low-pass filtering SGD for recovering flat optima, 2022.

    Args:
        problem: of which; its loss must be a mean over examples.
        seed: of everything drawn.
        sigma: at least 0.
        parts: into how many the batch is split; at most into single examples.
    """

    def __init__(self, problem: Problem, seed: int, sigma: float, parts: int) -> None:
        super().__init__(problem, seed)
        counts(parts=parts)
        non_negative(sigma=sigma)
        self.sigma, self.parts = sigma, min(parts, problem.examples)

    @property
    def price(self) -> Price:
        """The price of one estimate: every example is met once."""
        cost, inner = self.problem.cost, self.problem.adversary
        time = cost.time(self.parts, math.ceil(self.problem.examples / self.parts))
        return Price(time, 1.0) + cost.price() * (inner.steps if inner else 0)

    def _batch(self, step: int) -> Batch:
        generator = drawing(self.seed, "examples", step)
        return self.problem.chosen(torch.randperm(self.problem.examples, generator=generator))

    def _take(self, batch: Batch, step: int, progress: float) -> Tensor:
        pieces = [tensor.tensor_split(self.parts) for tensor in batch]
        total = torch.zeros(())
        for number, piece in enumerate(zip(*pieces, strict=True)):
            share = len(piece[0]) / self.problem.examples
            perturbed = self._perturbed(Noise(self.seed, step, microbatch=number))
            with _holding(self.parameters.values(), perturbed):
                total = total + self._backward(share * self.problem.loss(*piece))
        return total

    def _perturbed(self, noise: Noise) -> list[Tensor]:
        perturbed = []
        for name, parameter in self.parameters.items():
            value = parameter.detach()
            shape = (1, *value.shape)
            drawn = noise.normals(name, Role.PARAMETER, shape, value.dtype, value.device)[0]
            perturbed.append(value + self.sigma * _filter_norms(value) * drawn)
        return perturbed


class Smoothed(Gradient):
    r"""The mean of K gradients at Gaussian perturbations: $G_t$ of Algorithm 1.

    Args:
        problem: of which.
        seed: of everything drawn.
        perturbation: what is averaged; its sigma, a number, is where the schedule starts.
        schedule: what sigma is multiplied by.
    """

    def __init__(
        self,
        problem: Problem,
        seed: int,
        perturbation: Perturbation,
        schedule: Progress = lambda _: 1.0,
    ) -> None:
        super().__init__(problem, seed)
        self.perturbation, self.schedule = perturbation, schedule

    @property
    def price(self) -> Price:
        """The price of one estimate."""
        return self.problem.price(self.perturbation.samples)

    def _take(self, batch: Batch, step: int, progress: float) -> Tensor:
        factor = self.schedule(progress)
        sigmas = self.perturbation.sigmas(self.parameters, step)
        sigmas = {name: factor * sigma for name, sigma in sigmas.items()}
        noise = Noise(self.seed, step)
        loss = losses_at(
            *(self.problem.loss, self.parameters, self.perturbation, sigmas, noise, batch),
            self.problem.model,
        ).mean()
        return self._backward(loss)


def _filter_norms(value: Tensor) -> Tensor:
    """The norm of each row of the first dimension; of all of a vector."""
    rows = value.flatten(1) if value.dim() > 1 else value.reshape(1, -1)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norms.view(-1, *[1] * (value.dim() - 1)) if value.dim() > 1 else norms[0]


@contextmanager
def _holding(parameters: Iterable[nn.Parameter], values: Iterable[Tensor]) -> Iterator[None]:
    """The parameters hold other values inside the block."""
    parameters = list(parameters)
    kept = [parameter.data for parameter in parameters]  # swapped, so that every bit comes back
    try:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value
        yield
    finally:
        for parameter, data in zip(parameters, kept, strict=True):
            parameter.data = data
