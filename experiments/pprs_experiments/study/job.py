"""A job of the study: tune one method in one cell, then run it on new seeds."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from pprs._arguments import counts
from pprs.smoothing import derive_seed
from pprs_experiments.study.cell import Cell, Goal
from pprs_experiments.study.methods import METHODS, Hyperparameters
from pprs_experiments.study.problem import Problem
from pprs_experiments.study.results import Result, SeedRun, job_key
from pprs_experiments.study.run import Budget, Outcome, run
from pprs_experiments.study.tuning import tune

_POINTS_TO_TARGET = 300  # a target is met within 3 % of the steps, of 10,000


@dataclass(frozen=True)
class Effort:
    """How much is computed for every method in every cell.

    Args:
        trials: hyperparameters that are tried.
        tuning_seeds: problems that each trial runs on; none of them is among the `seeds`.
        seeds: problems that the tuned method runs on.
        points: of the history that results keep.
    """

    trials: int
    tuning_seeds: int
    seeds: int
    points: int = 10

    def __post_init__(self) -> None:
        counts(
            trials=self.trials,
            tuning_seeds=self.tuning_seeds,
            seeds=self.seeds,
            points=self.points,
        )


@dataclass(frozen=True)
class Job:
    """A method in a cell.

    Args:
        cell: what on.
        method: its name.
        effort: how much.

    Raises:
        ValueError: for an unknown method.
    """

    cell: Cell
    method: str
    effort: Effort

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}: there are {', '.join(METHODS)}")

    @property
    def key(self) -> str:
        """Its name in storage, with a digest of all that its result depends on but the code."""
        return job_key(self.cell.name, self.cell.spent, self.method, self.digest)

    @property
    def digest(self) -> str:
        """A hash of all that the result depends on, except the code."""
        return self.cell.digest(self.method, METHODS[self.method].space, self.effort)

    def compute(self, data_dir: Path | None) -> Result:
        """Tune and run.

        Args:
            data_dir: folder of the data sets that do not come with a package.
        """
        start = time.perf_counter()
        budget = self.cell.budget(data_dir)
        found, tuned = tune(
            self.cell.tuned_by.better_value,
            METHODS[self.method].space,
            lambda tried: self._score(tried, budget, data_dir),
            self.effort.trials,
            derive_seed(0, self.cell.name, "tuning"),
        )
        runs = tuple(
            self._run(found, number, budget, data_dir) for number in range(self.effort.seeds)
        )
        cell = self.cell
        return Result(
            cell=cell.name,
            spent=cell.spent,
            method=self.method,
            definition=self.digest,
            questions=cell.questions,
            task=cell.settings,
            goal=cell.goal,
            hyperparameters=found,
            tuned=tuned,
            trials=self.effort.trials if METHODS[self.method].space else 0,
            seconds=time.perf_counter() - start,
            runs=runs,
        )

    def _score(self, tried: Hyperparameters, budget: Budget, data_dir: Path | None) -> float:
        """The mean over the tuning seeds."""
        goal = self.cell.tuned_by
        outcomes = (
            self._outcome(tried, ("tuning", number), budget, data_dir, goal, points=1)
            for number in range(self.effort.tuning_seeds)
        )
        return statistics.fmean(goal.score(outcome, self.cell.spent) for outcome in outcomes)

    def _run(
        self, found: Hyperparameters, number: int, budget: Budget, data_dir: Path | None
    ) -> SeedRun:
        goal, points = self.cell.goal, self.effort.points
        outcome = self._outcome(found, ("run", number), budget, data_dir, goal, points)
        return SeedRun.of(number, outcome, goal, self.cell.spent, points)

    def _outcome(
        self,
        hyperparameters: Hyperparameters,
        seed: tuple[str, int],
        budget: Budget,
        data_dir: Path | None,
        goal: Goal,
        points: int,
    ) -> Outcome:
        def factory(drawn: int) -> Problem:
            return self.cell.task.problem(drawn, data_dir)

        # Cells draw for themselves: what they say of a method is independent.
        drawn = derive_seed(0, self.cell.name, *seed)
        aimed = goal.target is not None
        return run(
            factory,
            METHODS[self.method],
            hyperparameters,
            drawn,
            budget,
            _POINTS_TO_TARGET if aimed else points,
            until=goal.reached if aimed else None,
            final=(goal.metric,) if seed[0] == "tuning" else None,
        )
