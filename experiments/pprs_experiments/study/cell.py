"""A cell of the study: one task and one budget, and the methods that are compared on it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from pprs._arguments import counts
from pprs_experiments.study.problem import Problem
from pprs_experiments.study.run import Budget, Outcome, Point

Spent: TypeAlias = Literal["time", "evaluations"]
Better: TypeAlias = Literal["higher", "lower"]


class Task(Protocol):
    """Draws problems; a frozen dataclass, whose fields are its settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def problem(self, seed: int, data_dir: Path | None) -> Problem:
        """The problem of a seed, at its start.

        Args:
            seed: draws examples and initial weights.
            data_dir: folder of the data sets that do not come with a package.
        """


@dataclass(frozen=True)
class Goal:
    """The measure that runs are compared by.

    Args:
        metric: `"training_loss"`, or one of the problem's metrics.
        better: whether higher or lower values are better.
        target: where it is given, what counts is how much was spent until the metric was at least
            as good; less is better.
    """

    metric: str
    better: Better
    target: float | None = None

    @property
    def better_value(self) -> Better:
        """Whether higher or lower values of the goal are better."""
        return self.better if self.target is None else "lower"

    def value(self, outcome: Outcome, spent: Spent) -> float:
        """The value of a run; infinitely bad if it diverged, or never reached the target."""
        if self.target is not None:
            reached = [point for point in outcome.history if self.reached(point)]
            return _spent(reached[0], spent) if reached else math.inf
        if outcome.diverged:
            return math.inf if self.better == "lower" else -math.inf
        return _metric(outcome.last, self.metric)

    def score(self, outcome: Outcome, spent: Spent) -> float:
        """The score for tuning: finite, and better the closer a run came to its target."""
        value = self.value(outcome, spent)
        if math.isfinite(value):
            return value
        if self.target is None or outcome.diverged or self.target <= 0:
            return 1e30 if self.better_value == "lower" else -1e30
        found = _metric(outcome.last, self.metric)
        missed = found / self.target if self.better == "lower" else self.target / max(found, 1e-9)
        return min(1e30, _spent(outcome.last, spent) * max(1.0, missed))

    def reached(self, point: Point) -> bool:
        """Whether the metric is at least as good as the target, if there is one."""
        if self.target is None:
            return False
        found = _metric(point, self.metric)
        return found >= self.target if self.better == "higher" else found <= self.target


@dataclass(frozen=True)
class Cell:
    """What is compared, and on what.

    Args:
        name: of the task, in words; cells of the two budgets share it, and so their problems.
        task: draws the problems.
        spent: what the budget is of: pipeline time, or gradient evaluations per example.
        steps: the budget, in plain gradients of all training examples.
        methods: their names.
        tuned_by: by what hyperparameters are chosen.
        goal: by what the methods are compared.
        questions: numbers of the questions that it is for.

    Raises:
        ValueError: for numbers below 1, or no methods.
    """

    name: str
    task: Task
    spent: Spent
    steps: int
    methods: tuple[str, ...]
    tuned_by: Goal
    goal: Goal
    questions: tuple[int, ...]

    def __post_init__(self) -> None:
        counts(steps=self.steps)
        if not self.methods:
            raise ValueError(f"cell {self.name} must compare methods, got none")

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the task."""
        return {"task": type(self.task).__name__, **asdict(self.task)}

    def budget(self, data_dir: Path | None) -> Budget:
        """What a run may spend."""
        price = self.task.problem(0, data_dir).price()
        if self.spent == "time":
            return Budget(time=self.steps * price.time)
        return Budget(evaluations=self.steps * price.evaluations)

    def digest(self, method: str, *others: object) -> str:
        """A hash of all that a method's result in this cell depends on, except the code."""
        named = (self.name, self.settings, self.spent, self.steps, self.tuned_by, self.goal, method)
        return hashlib.sha256(repr((*named, *others)).encode()).hexdigest()[:16]


def _spent(point: Point, spent: Spent) -> float:
    return point.pipeline_time if spent == "time" else point.evaluations


def _metric(point: Point, name: str) -> float:
    if name == "training_loss":
        return point.training_loss
    return point.metrics[name]
