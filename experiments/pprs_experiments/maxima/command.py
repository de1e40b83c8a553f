"""`pprs-maxima`: run what is missing, and write the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from pprs.cli.dispatch import say as end
from pprs.cli.run_command import configured
from pprs.io.files import writing
from pprs_experiments.maxima.plan import Job, jobs
from pprs_experiments.maxima.problems import PROBLEMS, Problem
from pprs_experiments.maxima.report import write_report
from pprs_experiments.maxima.results import read
from pprs_experiments.maxima.running import compute
from pprs_experiments.rows import append
from pprs_experiments.study.progress import say


@dataclass(frozen=True)
class MaximaConfig:
    """Minimise functions with a maximum in them by untuned methods, tuned rivals, and solvers.

    It can be interrupted and called again: what results.jsonl holds is not computed again.

    Args:
        out: folder of the results and the report.
        data_dir: holds libsvm/a9a; without it only the report is written, of the results so far.
    """

    out: Path = Path("runs/maxima")
    data_dir: Path | None = None


def maxima(config: MaximaConfig) -> None:
    """Run the jobs that have no result yet, one after the other, and write the report.

    Raises:
        ValueError: for data or results that are missing, or files that cannot be written.
    """
    file = config.out / "results.jsonl"
    if config.data_dir is not None:
        with writing(config.out):
            config.out.mkdir(parents=True, exist_ok=True)
        work(jobs(), config.data_dir, file)
    rows = read(file)
    if not rows:
        raise ValueError(f"there are no results at {file}: name the folder of a9a with --data-dir")
    say(f"wrote {write_report(rows, config.out)}")


def work(listed: Sequence[Job], data_dir: Path | None, file: Path) -> None:
    """Run the jobs that the file has no results of, on one core."""
    torch.set_num_threads(1)
    held = {row.came_of for row in read(file)}

    @cache
    def problem(name: str, seed: int) -> Problem:
        return PROBLEMS[name](data_dir, seed)

    for number, job in enumerate(listed, 1):
        if job not in held:
            rows = compute(job, problem(job.problem, job.seed))
            append(file, rows)
            seconds = sum(row.seconds for row in rows)
            depth = f", depth {job.depth}" if job.depth else ""
            what = f"{job.problem}, seed {job.seed}: {job.method}{depth}"
            say(f"{number} of {len(listed)}, {seconds:.1f} s: {what}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return configured("pprs-maxima", MaximaConfig, maxima, words)
    except KeyboardInterrupt:
        return end("interrupted; what is finished is kept: call it again to go on", 130)


if __name__ == "__main__":
    raise SystemExit(main())
