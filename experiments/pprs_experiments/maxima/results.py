"""What came out: a line for each function, seed, method and setting, in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pprs_experiments import rows
from pprs_experiments.attack.running import step_time
from pprs_experiments.maxima.plan import Job


@dataclass(frozen=True)
class Row:
    """How a method did on a function.

    Args:
        problem: the function's name.
        seed: of the function, and of what the method drew.
        job: the name of the job that it came out of.
        method: its name.
        depth: of the pipeline; 0 where the steps do not depend on it.
        setting: of the grid; for methods with one gradient a step, the best for each gap.
        passes: gradients of a step.
        begun: gradients before the first, each a step of its own.
        steps: to each gap; `None` where it was not reached.
        most: steps that were allowed.
        seconds: that the run took, or all runs together where the best is told.
        first: the value at the start.
        minimum: by the solver.
    """

    problem: str
    seed: int
    job: str
    method: str
    depth: int
    setting: Sequence[float]
    passes: int
    begun: int
    steps: Sequence[int | None]
    most: int
    seconds: float
    first: float
    minimum: float

    @property
    def came_of(self) -> Job:
        """The job."""
        return Job(self.problem, self.seed, self.job, self.depth)

    def time(self, place: int, depth: int) -> float | None:
        """Pipeline time to a gap; `None` where it was not reached."""
        steps = self.steps[place]
        return None if steps is None else self._time(steps, depth)

    def last(self, depth: int) -> float:
        """Pipeline time of all steps that were allowed."""
        return self._time(self.most, depth)

    def _time(self, steps: int, depth: int) -> float:
        return self.begun * step_time(1, depth) + steps * step_time(self.passes, depth)


def read(file: Path) -> list[Row]:
    """All rows; of a line that was cut short, nothing.

    Raises:
        ValueError: for a line that is not one of these.
    """
    return rows.read(file, lambda held: Row(**held), "these runs")
