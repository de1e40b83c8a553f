"""The progress of a study: finished results in a file, and a line about the rest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pprs.io.files import writing
from pprs_experiments.study.job import Job
from pprs_experiments.study.queue import Queue
from pprs_experiments.study.results import Result, read_results, write_results


class Progress:
    """Says what is finished and how long the rest may take, and keeps results in a file.

    Args:
        queue: of jobs.
        jobs: all there are, by key.
        wanted: keys of those that are to be computed.
        file: of results; what it holds of these jobs is finished.

    Raises:
        ValueError: if the file cannot be read or written.
    """

    def __init__(
        self, queue: Queue, jobs: Mapping[str, Job], wanted: Sequence[str], file: Path
    ) -> None:
        self._queue, self._jobs, self._wanted, self._file = queue, jobs, wanted, file
        self._results: dict[str, Result] = {}
        self._keep(_held(file, jobs) | queue.results(self._new(queue.standing().done)))
        self._before, self._start = self._done, time.monotonic()
        cells = len({(jobs[key].cell.name, jobs[key].cell.spent) for key in wanted})
        say(f"{len(wanted)} jobs in {cells} cells, {self._before} of them finished before")

    @property
    def left(self) -> list[str]:
        """Which of the wanted have no result."""
        return [key for key in self._wanted if key not in self._results]

    def update(self) -> bool:
        """Look again; tell whether there is more to come."""
        standing = self._queue.standing()
        if new := self._new(standing.done):
            found = self._queue.results(new)
            self._keep(found)
            for result in found.values():
                self._tell(result)
        return bool(standing.waiting or standing.running)

    @property
    def _done(self) -> int:
        return len(self._wanted) - len(self.left)

    def _new(self, done: Sequence[str]) -> list[str]:
        return [key for key in done if key in self._jobs and key not in self._results]

    def _keep(self, results: Mapping[str, Result]) -> None:
        for key, result in results.items():
            # What a cell is for may be decided later than what it holds.
            self._results[key] = replace(result, questions=self._jobs[key].cell.questions)
        with writing(self._file):
            write_results(self._file, self._results.values())

    def _tell(self, result: Result) -> None:
        done, all_wanted = self._done, len(self._wanted)
        pace = (time.monotonic() - self._start) / max(1, done - self._before)
        say(
            f"{done} of {all_wanted}, {_duration(pace * (all_wanted - done))} left: "
            f"{result.cell} | {result.spent} | {result.method}, {_duration(result.seconds)}"
        )


def say(message: str) -> None:
    """Print at once, also into a file."""
    print(message, flush=True)


def _held(file: Path, jobs: Mapping[str, Job]) -> dict[str, Result]:
    """The results that a file has already, from another machine perhaps."""
    if not file.exists():
        return {}
    results = read_results(file)
    held = {result.key: result for result in results if result.key in jobs}
    if len(held) < len(results):
        old = file.with_name(f"{file.stem}.old{file.suffix}")
        shutil.copy(file, old)
        say(
            f"{len(results) - len(held)} results in {file} are not of this version of the study: "
            f"left out; {old} has them"
        )
    return held


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
