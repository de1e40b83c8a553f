"""A method: its name, its hyperparameters and where to search them, and how it steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from pprs._arguments import positive
from pprs.optim.registry import evaluating
from pprs_experiments.study.cost import Price
from pprs_experiments.study.methods.gradients import Gradient
from pprs_experiments.study.problem import Problem

Hyperparameters: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class LogUniform:
    """A number between two others, whose logarithm is uniform.

    Args:
        low: above 0.
        high: above `low`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        positive(low=self.low, high=self.high)
        if self.high <= self.low:
            raise ValueError(f"high must be above low, got {self.low!r} to {self.high!r}")

    @property
    def middle(self) -> float:
        """The geometric mean."""
        return math.sqrt(self.low * self.high)


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Args:
        values: at least one.
    """

    values: tuple[float | int | str, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("values must name at least one value to choose, got none")

    @property
    def middle(self) -> float | int | str:
        """The value in the middle, of two the second."""
        return self.values[len(self.values) // 2]


Range: TypeAlias = LogUniform | Choice


class Update(Protocol):
    """Takes a step from the gradients in `.grad`: optimizers of torch, and others.

    Where the parameters do not hold the method's result while it runs, it has `evaluating()`,
    inside whose block they do.
    """

    def step(self) -> Any:
        """Take one."""


class Stepper:
    """A method at work on a problem.

    Args:
        gradient: what its steps go by.
        update: what it makes of that.
        price: of a step, by default that of the gradient.
    """

    def __init__(self, gradient: Gradient, update: Update, price: Price | None = None) -> None:
        self.gradient, self.update = gradient, update
        self.price = gradient.price if price is None else price
        self.taken = 0

    def step(self, progress: float) -> Tensor:
        """Take one.

        Args:
            progress: which part of the budget is spent, from 0 to below 1.

        Returns:
            A loss that was met on the way, a scalar.
        """
        loss = self.gradient.take(self.taken, progress)
        self.update.step()
        self.taken += 1
        return loss

    def evaluating(self) -> AbstractContextManager[None]:
        """The model holds the method's result inside the block."""
        return evaluating(self.update)


@dataclass(frozen=True)
class Method:
    """A method of optimization.

    Args:
        name: what settings and files call it.
        label: what tables and plots call it.
        space: its hyperparameters, and where to search each.
        build: a problem, hyperparameters and a seed to the method at work.
        divides: whether it takes the loss of parts of the batch, which must be a mean then.
    """

    name: str
    label: str
    space: Mapping[str, Range]
    build: Callable[[Problem, Hyperparameters, int], Stepper]
    divides: bool = False

    def stepper(self, problem: Problem, hyperparameters: Hyperparameters, seed: int) -> Stepper:
        """The method at work.

        Args:
            problem: at its start.
            hyperparameters: a value for each name of `space`; it may lie outside of the range.
            seed: of everything that the method draws.

        Raises:
            ValueError: for other names, values that are none, or a problem that it cannot divide.
        """
        if set(hyperparameters) != set(self.space):
            raise ValueError(
                f"hyperparameters of {self.name} must be {sorted(self.space)}, got "
                f"{sorted(hyperparameters)}"
            )
        if self.divides and not problem.cost.divisible:
            raise ValueError(
                f"{self.name} takes the loss of parts of the batch, and that of this problem is "
                f"not a mean over examples: choose another method"
            )
        return self.build(problem, hyperparameters, seed)
