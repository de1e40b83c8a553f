"""What the study found: one result for each cell and method, in a file with one line for each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pprs.io.files import replacing
from pprs.io.folder import to_json
from pprs_experiments.study.cell import Goal, Spent
from pprs_experiments.study.run import Outcome


@dataclass(frozen=True)
class SeedRun:
    """How a method did with the tuned hyperparameters on the problem of one seed.

    Args:
        seed: of the problem, and of all that the method drew.
        value: what the cell's goal makes of it; infinite where a target was not reached.
        diverged: whether it ended early, since a loss was not finite.
        steps: how many were taken.
        pipeline_time: spent.
        evaluations: gradient evaluations per example.
        wall_time: seconds spent in steps.
        training_loss: at the end.
        metrics: at the end.
        history: pipeline time, evaluations and training loss, from the start to the end.
    """

    seed: int
    value: float
    diverged: bool
    steps: int
    pipeline_time: float
    evaluations: float
    wall_time: float
    training_loss: float
    metrics: Mapping[str, float]
    history: tuple[tuple[float, float, float], ...]

    @classmethod
    def of(cls, seed: int, outcome: Outcome, goal: Goal, spent: Spent, kept: int) -> SeedRun:
        """The result of an outcome.

        Args:
            seed: of the run.
            outcome: of the run.
            goal: of the cell.
            spent: of the cell.
            kept: about how many points of the history to keep.
        """
        last = outcome.last
        every = max(1, math.ceil((len(outcome.history) - 1) / kept))
        points = [*outcome.history[:-1][::every], last]
        return cls(
            seed,
            goal.value(outcome, spent),
            outcome.diverged,
            last.step,
            last.pipeline_time,
            last.evaluations,
            last.wall_time,
            last.training_loss,
            last.metrics,
            tuple((p.pipeline_time, p.evaluations, p.training_loss) for p in points),
        )


@dataclass(frozen=True)
class Result:
    """The result of a method in a cell.

    Args:
        cell: its name.
        spent: what the budget of the cell is of.
        method: its name.
        definition: a digest of all that the result depends on but the code.
        questions: numbers of the questions that the cell is for.
        task: the settings of the task.
        goal: of the cell: metric, whether higher or lower values are better, and the target.
        hyperparameters: as tuned.
        tuned: the goal's value that they reached in tuning.
        trials: how many hyperparameters were tried.
        seconds: that all took, tuning and runs.
        runs: of the seeds, in order.
    """

    cell: str
    spent: Spent
    method: str
    definition: str
    questions: tuple[int, ...]
    task: Mapping[str, Any]
    goal: Goal
    hyperparameters: Mapping[str, Any]
    tuned: float
    trials: int
    seconds: float
    runs: tuple[SeedRun, ...]

    @property
    def key(self) -> str:
        """The key of its job."""
        return job_key(self.cell, self.spent, self.method, self.definition)

    @property
    def values(self) -> tuple[float, ...]:
        """The goal's value for each seed."""
        return tuple(run.value for run in self.runs)

    def metric(self, name: str) -> tuple[float, ...]:
        """The `training_loss`, or another metric, for each seed."""
        if name == "training_loss":
            return tuple(run.training_loss for run in self.runs)
        return tuple(run.metrics[name] for run in self.runs)

    def to_line(self) -> str:
        """One line of JSON; numbers with seven digits, since there are many."""
        return to_json(_rounded(asdict(self)))

    @classmethod
    def from_line(cls, line: str) -> Result:
        """What `to_line` wrote.

        Raises:
            ValueError: for anything else.
        """
        try:
            held = json.loads(line)
            values = {field.name: held[field.name] for field in fields(cls)}
            values["goal"] = Goal(**held["goal"])
            worst = math.inf if values["goal"].better_value == "lower" else -math.inf
            values["tuned"] = worst if held["tuned"] is None else held["tuned"]
            values["questions"] = tuple(held["questions"])
            values["runs"] = tuple(_run(run, worst) for run in held["runs"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a result of the study: {error!r}") from None


def job_key(cell: str, spent: Spent, method: str, definition: str) -> str:
    """The key of a job in storage."""
    return f"{cell} | {spent} | {method} | {definition}"


def read_results(file: Path) -> list[Result]:
    """The results in a file.

    Raises:
        ValueError: if it cannot be read, or a line is not a result.
    """
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read results: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Result.from_line(line))
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}") from None
    return found


def write_results(file: Path, results: Iterable[Result]) -> None:
    """Write results, sorted; a file that is there is replaced as a whole."""
    ordered = sorted(results, key=lambda each: (each.cell, each.spent, each.method))
    with replacing(file) as partial:
        partial.write_text("".join(result.to_line() + "\n" for result in ordered))


def _run(held: Mapping[str, Any], worst: float) -> SeedRun:
    """JSON has no infinity: what is not finite was never reached, or diverged."""
    values = {**held, "value": worst if held["value"] is None else held["value"]}
    if held["training_loss"] is None:
        values["training_loss"] = math.inf
    points = held["history"]
    values["history"] = tuple((t, e, math.inf if f is None else f) for t, e, f in points)
    return SeedRun(**values)


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.7g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value
