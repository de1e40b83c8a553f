"""The progress of a study: what is finished, and a line about the rest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pprs_experiments.study.job import Job
from pprs_experiments.study.results import Result, read_results, write_results
from pprs_experiments.study.store import alone


class Progress:
    """Says what is finished and how long the rest may take.

    Args:
        jobs: all there are, by key.
        wanted: keys of those that are to be computed.
        file: of results; what it holds of these jobs is finished.

    Raises:
        ValueError: if the file cannot be read or written.
    """

    def __init__(self, jobs: Mapping[str, Job], wanted: Sequence[str], file: Path) -> None:
        self._wanted, self._done = wanted, tidy(file, jobs).keys() & set(wanted)
        self._before, self._start = len(self._done), time.monotonic()
        cells = len({(jobs[key].cell.name, jobs[key].cell.spent) for key in wanted})
        say(f"{len(wanted)} jobs in {cells} cells, {self._before} of them finished before")

    @property
    def left(self) -> list[str]:
        """Which of the wanted have no result."""
        return [key for key in self._wanted if key not in self._done]

    def tell(self, result: Result) -> None:
        """Count a new result, and tell of it."""
        self._done.add(result.key)
        done, all_wanted = len(self._done), len(self._wanted)
        pace = (time.monotonic() - self._start) / max(1, done - self._before)
        say(
            f"{done} of {all_wanted}, {duration(pace * (all_wanted - done))} left: "
            f"{result.cell} | {result.spent} | {result.method}, {duration(result.seconds)}"
        )


def say(message: str) -> None:
    """Print at once, also into a file."""
    print(message, flush=True)


def tidy(file: Path, jobs: Mapping[str, Job]) -> dict[str, Result]:
    """Leave in a file, sorted, what it has of these jobs, from another machine perhaps."""
    with alone(file):
        results = read_results(file) if file.exists() else []
        held = {result.key: result for result in results if result.key in jobs}
        if left := sum(result.key not in jobs for result in results):
            old = file.with_name(f"{file.stem}.old{file.suffix}")
            shutil.copy(file, old)
            say(
                f"{left} results in {file} are not of this version of the study: "
                f"left out; {old} has them"
            )
        # What a cell is for may be decided later than what it holds.
        write_results(
            file,
            (replace(each, questions=jobs[key].cell.questions) for key, each in held.items()),
        )
    return held


def duration(seconds: float) -> str:
    """In words, with the unit that fits."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
