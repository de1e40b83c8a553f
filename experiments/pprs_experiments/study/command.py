"""`pprs-study run`, `pprs-study worker` and `pprs-study report`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from pprs.io.files import writing
from pprs.pipeline.launcher.signals import handled
from pprs_experiments.study.cell import Cell
from pprs_experiments.study.data import check_data, needs_data
from pprs_experiments.study.job import Job
from pprs_experiments.study.plan import plan
from pprs_experiments.study.progress import Progress, say
from pprs_experiments.study.queue import Queue
from pprs_experiments.study.results import read_results
from pprs_experiments.study.working import ENDING, release, work, workers

_POLL = 1.0  # seconds


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
        data_dir: holds the folders fashion-mnist, cifar-10-batches-bin and libsvm, or those of
            them that the chosen cells need; without it only cells whose data comes with a package
            are run, unless all work is left to other machines.
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
        _check_folder(self.data_dir)


@dataclass(frozen=True)
class WorkerConfig:
    """Take part in a study that runs elsewhere, until no job is left; call it once for each core.

    Args:
        storage: URL of the database, as `pprs-study run` has it.
        quick: as `pprs-study run` has it.
        data_dir: as `pprs-study run` has it.
    """

    storage: str
    quick: bool = False
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        _check_folder(self.data_dir)


@dataclass(frozen=True)
class ReportConfig:
    """Make tables, figures and a page of the study's results.

    Args:
        results: the file that `pprs-study run` writes.
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
        say(f"{len(stale)} jobs that waited here are not of this version of the study: left out")
        queue.withdraw(stale)
    file = config.out / ("quick.jsonl" if config.quick else "results.jsonl")
    progress = Progress(queue, jobs, wanted, file)
    if config.workers:
        check_data([jobs[key].cell for key in progress.left], config.data_dir)
    try:
        queue.add(progress.left)
        with workers(
            min(config.workers, len(progress.left)), queue, jobs, config.data_dir
        ) as processes:
            while progress.update() and not received and not _all_ended(processes):
                time.sleep(_POLL)
                queue.add(release(queue, processes))
        progress.update()
    finally:
        queue.withdraw(wanted)  # so that workers elsewhere end too, and another call may want less
    if received:
        raise StudyInterrupted(received[0])
    if failures := queue.failures():
        raise StudyError(
            f"{len(failures)} jobs failed; call it again to try them again:\n{_reasons(failures)}"
        )
    if left := progress.left:
        raise StudyError(f"{len(left)} jobs have no result, since their workers were stopped")
    say(f"wrote {file}; for tables and figures: pprs-study report --results {file}")


def run_worker(config: WorkerConfig) -> None:
    """Take jobs from the queue until none is left.

    Raises:
        ValueError: for settings that do not fit.
    """
    jobs, name = _jobs(config.quick)[1], _queue_name(config.quick)
    standing = Queue(config.storage, name).standing()
    coming = [*standing.waiting, *standing.running]  # those of workers that are killed
    check_data([jobs[key].cell for key in coming if key in jobs], config.data_dir)
    work(config.storage, name, jobs, config.data_dir)


def run_report(config: ReportConfig) -> Path:
    """Write the report.

    Returns:
        The page.

    Raises:
        ValueError: if results cannot be read, or the report cannot be written.
    """
    from pprs_experiments.study.accelerated import accelerated_times
    from pprs_experiments.study.report import write_report

    if not config.results.exists():
        raise ValueError(
            f"there are no results at {config.results}: call `pprs-study run` first, or name its "
            f"file with --results"
        )
    results = read_results(config.results)
    if not results:
        raise ValueError(f"{config.results} holds no results: no job has finished yet")
    out = config.out or config.results.parent / "report"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        page = write_report(results, out, accelerated=accelerated_times())
    say(f"wrote {page}")
    return page


def _check_folder(data_dir: Path | None) -> None:
    if data_dir is not None and not data_dir.is_dir():
        raise ValueError(f"--data-dir must be a folder that holds data sets, got {data_dir}")


def _reasons(failures: Mapping[str, str]) -> str:
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


def _chosen(cells: Sequence[Cell], config: StudyConfig) -> list[Cell]:
    named = [cell for cell in cells if not config.only or _named(cell, config.only)]
    if not named:
        names = "\n".join(sorted({f"  {cell.name}" for cell in cells}))
        raise ValueError(
            f"--only {' '.join(config.only)} names no cell (question 1 needs none: "
            f"`pprs-study report` answers it); there are:\n{names}"
        )
    reads = config.data_dir or not config.workers  # or others do, where all work is left to them
    chosen = [cell for cell in named if reads or not needs_data(cell)]
    if len(chosen) < len(named):
        left = len(named) - len(chosen)
        say(f"{left} cells are left out: their data sets lie in a folder that --data-dir names")
    if not chosen:
        raise ValueError("no cell is left: name the folder of the data sets with --data-dir")
    return chosen


def _named(cell: Cell, words: Sequence[str]) -> bool:
    return any(
        int(word) in cell.questions if word.isdecimal() else word in f"{cell.name} | {cell.spent}"
        for word in words
    )
