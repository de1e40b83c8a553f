"""`pprs study run`, `pprs study worker` and `pprs study report`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from pprs.command.files import writing
from pprs.pipeline.running.signals import handled
from pprs.study.cell import Cell
from pprs.study.job import Job
from pprs.study.plan import needs_data, plan
from pprs.study.queue import Queue
from pprs.study.results import Result, read_results, write_results
from pprs.study.working import ENDING, release, work, workers

_POLL = 1.0  # seconds


DATA_SETS = ("fashion-mnist", "cifar-10-batches-bin", "libsvm")


class StudyError(RuntimeError):
    """Jobs failed."""


class StudyInterrupted(RuntimeError):
    """A signal ended the study."""

    def __init__(self, received: int) -> None:
        super().__init__("interrupted; what is finished is kept: call it again to go on")
        self.signal = received


@dataclass(frozen=True)
class StudyConfig:
    """Run the study: tune every method in every cell, then run it on new seeds.

    It can be interrupted and called again: what is finished, in the storage or in the file of
    results, is not computed again.

    Args:
        quick: a small part with few trials and seeds, which shows that all works and no more.
        only: cells whose names contain one of these words, or questions by their numbers.
        out: folder of the results.
        storage: URL of a database that workers on other machines share, by default a file in the
            folder.
        data_dir: holds the folders fashion-mnist, cifar-10-batches-bin and libsvm; without it only
            cells whose data comes with a package are run.
        workers: processes, by default one for each core; 0 leaves all work to other machines.
    """

    quick: bool = False
    only: tuple[str, ...] = ()
    out: Path = Path("runs/study")
    storage: str | None = None
    data_dir: Path | None = None
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")
        check_data_dir(self.data_dir)


@dataclass(frozen=True)
class WorkerConfig:
    """Take part in a study that runs elsewhere, until no job is left; call it once for each core.

    Args:
        storage: URL of the database, as `pprs study run` has it.
        quick: as `pprs study run` has it.
        data_dir: as `pprs study run` has it.
    """

    storage: str
    quick: bool = False
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        check_data_dir(self.data_dir)


@dataclass(frozen=True)
class ReportConfig:
    """Make tables, figures and a page of the study's results.

    Args:
        results: the file that `pprs study run` writes.
        out: folder to write to, by default the folder `report` beside the results.
    """

    results: Path = Path("runs/study/results.jsonl")
    out: Path | None = None


def run_study(config: StudyConfig) -> None:
    """Add the jobs to the queue, and work on them until none is left.

    Raises:
        ValueError: for settings that do not fit.
        StudyError: if jobs failed; all others have their results.
        StudyInterrupted: after a signal.
    """
    received: list[int] = []  # an exception could come while the database is written
    with handled(lambda number, _: received.append(number), ENDING):
        _run_study(config, received)


def _run_study(config: StudyConfig, received: Sequence[int]) -> None:
    cells, jobs = _jobs(config.quick)
    chosen = _chosen(cells, config)
    wanted = [key for key, job in jobs.items() if job.cell in chosen]
    with writing(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    storage = config.storage or f"sqlite:///{config.out / 'study.db'}"
    queue = Queue(storage, _queue_name(config.quick))
    if stale := [key for key in queue.standing().waiting if key not in jobs]:
        _say(f"{len(stale)} jobs that waited here are not of this version of the study: left out")
        queue.withdraw(stale)
    file = config.out / ("quick.jsonl" if config.quick else "results.jsonl")
    progress = _Progress(queue, jobs, wanted, file)
    try:
        queue.add(progress.left)
        with workers(
            min(config.workers, len(progress.left)), queue, jobs, config.data_dir
        ) as processes:
            while progress.update() and not received and not _all_ended(processes):
                time.sleep(_POLL)
                if release(queue, processes):
                    queue.add(progress.left)
        progress.update()
    finally:
        queue.withdraw(wanted)  # so that workers elsewhere end too, and another call may want less
    if received:
        raise StudyInterrupted(received[0])
    if failures := queue.failures():
        raise StudyError(
            f"{len(failures)} jobs failed; call it again to try them again:\n{_told(failures)}"
        )
    if left := progress.left:
        raise StudyError(f"{len(left)} jobs have no result, since their workers were stopped")
    _say(f"wrote {file}; for tables and figures: pprs study report --results {file}")


def run_worker(config: WorkerConfig) -> None:
    """Take jobs from the queue until none is left.

    Raises:
        ValueError: for settings that do not fit.
    """
    work(config.storage, _queue_name(config.quick), _jobs(config.quick)[1], config.data_dir)


def run_report(config: ReportConfig) -> Path:
    """Write the report.

    Returns:
        The page.

    Raises:
        ValueError: if results cannot be read, or the report cannot be written.
    """
    from pprs.study.report import write_report
    from pprs.study.smooth import accelerated_times

    if not config.results.exists():
        raise ValueError(
            f"there are no results at {config.results}: call `pprs study run` first, or name its "
            f"file with --results"
        )
    results = read_results(config.results)
    if not results:
        raise ValueError(f"{config.results} holds no results: no job has finished yet")
    out = config.out or config.results.parent / "report"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        page = write_report(results, out, smooth=accelerated_times())
    _say(f"wrote {page}")
    return page


def check_data_dir(folder: Path | None) -> None:
    """Raise ``ValueError`` unless it is a folder of data sets, if it is given."""
    if folder is None:
        return
    if not folder.is_dir():
        raise ValueError(f"--data-dir must be a folder that holds data sets, got {folder}")
    missing = [name for name in DATA_SETS if not (folder / name).is_dir()]
    if missing:
        raise ValueError(
            f"{folder} must hold the folders {', '.join(DATA_SETS)} (see docs/study.md), but lacks "
            f"{', '.join(missing)}"
        )


class _Progress:
    """Says what is finished, how long the rest may take, and keeps results in a file."""

    def __init__(
        self, queue: Queue, jobs: Mapping[str, Job], wanted: Sequence[str], file: Path
    ) -> None:
        self._queue, self._jobs, self._wanted, self._file = queue, jobs, wanted, file
        self._kept = _kept(file, jobs)
        self._seen = {*queue.standing().done, *self._kept}
        self._before, self._start = len(self._seen & set(wanted)), time.monotonic()
        cells = len({(jobs[key].cell.name, jobs[key].cell.spent) for key in wanted})
        _say(f"{len(wanted)} jobs in {cells} cells, {self._before} of them finished before")
        self._write()

    @property
    def left(self) -> list[str]:
        """Which of the wanted have no result."""
        return [key for key in self._wanted if key not in self._seen]

    def update(self) -> bool:
        """Look again; tell whether there is more to come."""
        standing = self._queue.standing()
        new = [key for key in standing.done if key not in self._seen]
        if new:
            self._seen |= set(new)
            results = self._write()
            for key in new:
                if key in results:
                    self._tell(results[key])
        return bool(standing.waiting or standing.running)

    def _write(self) -> dict[str, Result]:
        found = self._queue.results()
        # What a cell is for may be decided later than what it holds.
        results = {
            key: replace(result, questions=self._jobs[key].cell.questions)
            for key, result in (self._kept | found).items()
            if key in self._jobs
        }
        with writing(self._file):
            write_results(self._file, results.values())
        return results

    def _tell(self, result: Result) -> None:
        done = len(self._seen & set(self._wanted))
        left = len(self._wanted) - done
        pace = (time.monotonic() - self._start) / max(1, done - self._before)
        _say(
            f"{done} of {len(self._wanted)}, {_duration(pace * left)} left: "
            f"{result.cell} | {result.spent} | {result.method}, {_duration(result.seconds)}"
        )


def _told(failures: Mapping[str, str]) -> str:
    """Each reason once, with the first job that it holds for."""
    jobs: dict[str, list[str]] = {}
    for key, error in failures.items():
        jobs.setdefault(error, []).append(key)
    return "\n".join(
        f"  {keys[0]}{f' and {len(keys) - 1} others' if keys[1:] else ''}: {error}"
        for error, keys in jobs.items()
    )


def _all_ended(processes: Sequence[BaseProcess]) -> bool:
    return bool(processes) and not any(process.is_alive() for process in processes)


def _jobs(quick: bool) -> tuple[list[Cell], dict[str, Job]]:
    cells, effort = plan(quick)
    jobs = [Job(cell, method, effort) for cell in cells for method in cell.methods]
    return cells, {job.key: job for job in jobs}


def _queue_name(quick: bool) -> str:
    return "quick jobs" if quick else "jobs"


def _kept(file: Path, jobs: Mapping[str, Job]) -> dict[str, Result]:
    """The results that a file has already, from another machine perhaps."""
    if not file.exists():
        return {}
    results = read_results(file)
    kept = {result.key: result for result in results if result.key in jobs}
    if len(kept) < len(results):
        old = file.with_name(f"{file.stem}.old{file.suffix}")
        shutil.copy(file, old)
        _say(
            f"{len(results) - len(kept)} results in {file} are not of this version of the study: "
            f"left out; {old} has them"
        )
    return kept


def _chosen(cells: Sequence[Cell], config: StudyConfig) -> list[Cell]:
    named = [cell for cell in cells if not config.only or _named(cell, config.only)]
    if not named:
        names = "\n".join(sorted({f"  {cell.name}" for cell in cells}))
        raise ValueError(
            f"--only {' '.join(config.only)} names no cell (question 1 needs none: "
            f"`pprs study report` answers it); there are:\n{names}"
        )
    chosen = [cell for cell in named if config.data_dir or not needs_data(cell)]
    if len(chosen) < len(named):
        left = len(named) - len(chosen)
        _say(f"{left} cells are left out: their data sets lie in a folder that --data-dir names")
    if not chosen:
        raise ValueError("no cell is left: name the folder of the data sets with --data-dir")
    return chosen


def _named(cell: Cell, words: Sequence[str]) -> bool:
    return any(
        int(word) in cell.questions if word.isdecimal() else word in f"{cell.name} | {cell.spent}"
        for word in words
    )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _say(message: str) -> None:
    print(message, flush=True)
