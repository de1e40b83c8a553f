"""Convex functions as tasks: drawn and solved once, measured relative to where they start."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pprs._arguments import counts
from pprs.compare.examples import Examples
from pprs_experiments.study.cost import OVERHEAD, Cost
from pprs_experiments.study.problem import Problem, drawing
from pprs_experiments.tasks.convex import Aggregate, Convex, Polyhedral, SvmName, read_svm_examples
from pprs_experiments.tasks.examples import drawn

_LEAST_GAP = 1e-6  # far above what solvers leave


@dataclass(frozen=True, kw_only=True)
class ConvexTask(ABC):
    r"""A convex function to minimise from 0, in units in which L = 1 and R = 1.

    The metrics are its `gap`, $f(\theta) - f^*$, and its `relative gap`,
    $(f(\theta) - f^*) / (f(0) - f^*)$, which is 1 at the start whatever the function.

    Args:
        depth: nodes of the pipeline that computes it.
    """

    depth: int

    @abstractmethod
    def function(self, seed: int, data_dir: Path | None) -> Convex:
        """The function of a seed."""

    def problem(self, seed: int, data_dir: Path | None) -> Problem:
        """As `pprs_experiments.study.cell.Task.problem`.

        Raises:
            ValueError: for a setting out of its range, data that cannot be read, or a function
                whose minimum is where it starts.
        """
        # Its depth does not change a function.
        function = deepcopy(_solved(replace(self, depth=1), seed, data_dir))
        problem = self._built(function)
        gap = problem.metrics["gap"]
        start = gap()
        if start < _LEAST_GAP:
            raise ValueError(
                f"the function of {self} and seed {seed} has its minimum at 0, where it starts: "
                f"choose other settings"
            )
        return replace(problem, metrics={"gap": gap, "relative gap": lambda: gap() / start})

    def _built(self, function: Convex) -> Problem:
        return convex(function, self.depth)


@dataclass(frozen=True, kw_only=True)
class DataTask(ConvexTask):
    """A convex function of labelled examples.

    Args:
        data: a data set.
        examples: how many of its examples are drawn.
        features: how many of its features are drawn and kept, all by default. Fewer of the same
            seed are among more.
    """

    data: SvmName
    examples: int
    features: int | None = None

    def drawn(self, seed: int, data_dir: Path | None) -> Examples:
        """The examples of a seed.

        Raises:
            ValueError: for more than there are, or data that cannot be read.
        """
        if data_dir is None:
            raise ValueError(f"{self.data} is read from data_dir, which must name a folder")
        everything = _source(self.data, data_dir)
        available, width = everything.x.shape
        kept = width if self.features is None else self.features
        for name, number, most in (
            ("examples", self.examples, available),
            ("features", kept, width),
        ):
            counts(**{name: number})
            if number > most:
                raise ValueError(f"{name} of {self.data} are {most}, got {number}: ask for fewer")
        chosen = drawn(everything, self.examples, drawing(seed, "examples"))
        if self.features is None:
            return chosen
        columns = torch.randperm(width, generator=drawing(seed, "features"))[:kept]
        return Examples(chosen.x[:, columns], chosen.y, chosen.classes)


@dataclass(frozen=True, kw_only=True)
class PenalisedTask(DataTask):
    r"""A mean or maximum of terms, one for each example, and penalties.

    Args:
        aggregate: of the terms.
        l1: $\lambda_1$, the factor of $\|\theta\|_1$.
        l2: $\lambda_2$, the factor of $\frac12 \|\theta\|^2$; above 0, cvxpy finds the optimum.
    """

    aggregate: Aggregate = "mean"
    l1: float = 0.0
    l2: float = 0.0


def convex(function: Convex, depth: int, *, overhead: float = OVERHEAD) -> Problem:
    r"""Minimise a convex function from 0; the metric is its `gap`, $f(\theta) - f^*$.

    Args:
        function: of which `theta` is where to start.
        depth: nodes of the pipeline that computes it.
        overhead: as for `Cost`.
    """
    divisible = isinstance(function, Polyhedral) and function.aggregate == "mean"

    def loss(index: Tensor) -> Tensor:
        # Choosing all examples would copy them all.
        value: Tensor = function(index) if len(index) < function.examples else function()
        return value

    return Problem(
        function,
        loss if divisible else function,
        (torch.arange(function.examples),) if divisible else (),
        Cost(depth, function.examples, divisible, overhead),
        lambda: function().item(),
        {"gap": lambda: function().item() - function.minimum},
    )


@functools.lru_cache(maxsize=64)
def _solved(task: ConvexTask, seed: int, data_dir: Path | None) -> Convex:
    """A function whose optimum is known: many runs share it, as tuning has it."""
    function = task.function(seed, data_dir)
    if isinstance(function, Polyhedral) and function.radius > 0:
        return function.normalised()  # so that one range of step sizes fits all
    _ = function.optimum
    return function


@functools.cache
def _source(data: SvmName, data_dir: Path) -> Examples:
    """A data set; a process reads it once."""
    return read_svm_examples(data, data_dir)
