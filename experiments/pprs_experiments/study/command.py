"""`pprs-study run` and `pprs-study report`."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pprs._arguments import counts
from pprs.io.files import writing
from pprs.pipeline.launcher.signals import handled
from pprs_experiments.study import confirmation, depth
from pprs_experiments.study.cell import Cell
from pprs_experiments.study.data import check_data, needs_data
from pprs_experiments.study.job import Effort, Job
from pprs_experiments.study.plan import plan
from pprs_experiments.study.progress import Progress, say, tidy
from pprs_experiments.study.results import read_results
from pprs_experiments.study.working import work

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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

    It can be interrupted and called again: what the file of results holds is not computed again.
    Several calls at once, on one machine or on several that share the folder, divide the jobs.

    Args:
        quick: a small part with few trials and seeds, which shows that all works and no more.
        confirm: instead of the study, the held-out confirmation of its claims.
        depth: instead of the study, networks of many depths.
        only: cells whose names contain one of these words, or questions by their numbers.
        out: folder of the results.
        data_dir: holds the folders fashion-mnist, cifar-10-batches-bin, libsvm and omniglot, or
            those of them that the chosen cells need; without it only cells whose data comes with a
            package are run.
        workers: processes, by default one for each core.
    """

    quick: bool = False
    confirm: bool = False
    depth: bool = False
    only: tuple[str, ...] = ()
    out: Path = Path("runs/study")
    data_dir: Path | None = None
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def __post_init__(self) -> None:
        counts(workers=self.workers)
        if self.quick + self.confirm + self.depth > 1:
            raise ValueError("--quick, --confirm and --depth exclude each other: choose one")
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise ValueError(
                f"--data-dir must be a folder that holds data sets, got {self.data_dir}"
            )


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
    """Compute the jobs that have no result yet.

    Raises:
        ValueError: for settings that do not fit.
        StudyError: if jobs failed; all others have their results.
        StudyInterrupted: after a signal.
    """
    received: list[int] = []
    with handled(lambda number, _: received.append(number), _ENDING):
        _run_study(config, received)


def _run_study(config: StudyConfig, received: Sequence[int]) -> None:
    name, then, (cells, effort) = _planned(config)
    listed = [Job(cell, method, effort) for cell in cells for method in cell.methods]
    jobs = {job.key: job for job in listed}
    chosen = _chosen(cells, config)
    wanted = [key for key, job in jobs.items() if job.cell in chosen]
    with writing(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    file = config.out / f"{name}.jsonl"
    progress = Progress(jobs, wanted, file)
    left = [jobs[key] for key in progress.left]
    check_data([job.cell for job in left], config.data_dir)
    failures: dict[str, str] = {}
    for job, ended in work(left, config.workers, file, config.data_dir, lambda: bool(received)):
        if error := ended.exception():
            failures[job.key] = f"{type(error).__name__}: {error}"
        elif result := ended.result():
            progress.tell(result)
    if received:
        raise StudyInterrupted(received[0])
    tidy(file, jobs)
    if failures:
        raise StudyError(
            f"{len(failures)} jobs failed; call it again to try them again:\n{_reasons(failures)}"
        )
    say(f"wrote {file}; for tables: pprs-study {then} --results {file}")


def _planned(config: StudyConfig) -> tuple[str, str, tuple[list[Cell], Effort]]:
    """The file of results, the command that shows them, and what is run."""
    if config.confirm:
        return "confirmation", "confirmed", (confirmation.cells(), confirmation.EFFORT)
    if config.depth:
        return "depth", "depth", (depth.planned(), depth.EFFORT)
    return "quick" if config.quick else "results", "report", plan(config.quick)


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


def _reasons(failures: Mapping[str, str]) -> str:
    """Each reason once, with the first job that it holds for."""
    jobs: dict[str, list[str]] = {}
    for key, error in failures.items():
        jobs.setdefault(error, []).append(key)
    return "\n".join(
        f"  {keys[0]}{f' and {len(keys) - 1} others' if keys[1:] else ''}: {error}"
        for error, keys in jobs.items()
    )


def _chosen(cells: Sequence[Cell], config: StudyConfig) -> list[Cell]:
    named = [cell for cell in cells if not config.only or _named(cell, config.only)]
    if not named:
        names = "\n".join(sorted({f"  {cell.name}" for cell in cells}))
        raise ValueError(
            f"--only {' '.join(config.only)} names no cell (question 1 needs none: "
            f"`pprs-study report` answers it); there are:\n{names}"
        )
    chosen = [cell for cell in named if config.data_dir or not needs_data(cell)]
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
