"""Jobs at work: several processes, results as they come, and how long the rest may take."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from pprs_experiments.attack.objective import Attack
from pprs_experiments.attack.package import apgd
from pprs_experiments.attack.plan import METHODS, TUNING, Job
from pprs_experiments.attack.results import Row, Setting, read, tuned
from pprs_experiments.attack.running import PLAIN_STEPS, Outcome, run
from pprs_experiments.rows import append
from pprs_experiments.study.progress import duration, say
from pprs_experiments.study.working import PROCESSES, begin


@dataclass(frozen=True)
class Problem:
    """All that jobs need.

    Args:
        model: that is attacked, frozen.
        images: of each pair, by its name: their places among the held-out ones, and pixels.
        each: images in a part; part p has those from `each * p` on.
        plain_steps: the budget.
    """

    model: nn.Module
    images: Mapping[str, tuple[Sequence[int], Tensor]]
    each: int
    plain_steps: int = PLAIN_STEPS

    def compute(self, job: Job, sigma: float, lrs: Sequence[float]) -> list[Row]:
        """Run a job at some step sizes."""
        began = time.perf_counter()
        part = slice(job.part * self.each, (job.part + 1) * self.each)
        places, pixels = self.images[job.pair.name]
        attack = Attack(self.model, pixels[part], job.pair.target)
        out = self._outcome(job, attack, sigma, lrs, places[part])
        seconds = round(time.perf_counter() - began, 1)
        return [
            Row(
                job=job.key,
                pair=job.pair.name,
                part=job.part,
                depth=job.depth,
                method=job.method,
                setting=Setting(job.samples, sigma, lr),
                images=places[part],
                curve=[_rounded(each) for each in curve],
                distance=_rounded(distance),
                taken=taken.tolist(),
                queries=out.queries,
                time=out.time,
                seconds=seconds,
            )
            for lr, curve, distance, taken in zip(
                lrs, out.curve, out.distance, out.taken, strict=True
            )
        ]

    def _outcome(
        self, job: Job, attack: Attack, sigma: float, lrs: Sequence[float], seeds: Sequence[int]
    ) -> Outcome:
        method, depth, steps = METHODS[job.method], max(1, job.depth), self.plain_steps
        if method.untuned is not None:
            return method.untuned(attack, depth, steps, seeds)
        if method.rule is None:
            return apgd(attack, lrs, steps, seeds)
        draws = job.samples, sigma, method.annealed
        return run(attack, method.rule, lrs, *draws, depth, steps, seeds)


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]


def work(problem: Problem, jobs: Sequence[Job], file: Path, workers: int) -> None:
    """Run the jobs that the file has no results of, each as soon as what it needs is known."""
    rows = read(file)
    held = Counter(row.job for row in rows)
    left = [job for job in jobs if held[job.key] < job.lanes]
    known, total, began = len(jobs) - len(left), sum(job.queries for job in left), time.monotonic()
    say(f"{len(jobs)} jobs, {known} of them finished before")
    running: dict[Future[list[Row]], Job] = {}
    pool = ProcessPoolExecutor(workers, PROCESSES, _begin, (problem,))
    try:
        while left or running:
            waiting = {job.grid for job in (*left, *running.values()) if job.part in TUNING}
            ready = [job for job in left if job.sigma is not None or job.grid not in waiting]
            for job in ready[: workers - len(running)]:
                running[pool.submit(_compute, job, *_lanes(job, rows))] = job
                left.remove(job)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, found = running.pop(future), future.result()
                append(file, found)
                rows += found
                rest = sum(each.queries for each in (*left, *running.values()))
                pace = (time.monotonic() - began) / (total - rest)
                number = len(jobs) - len(left) - len(running)
                say(f"{number} of {len(jobs)}, {duration(pace * rest)} left: {job.key}")
    finally:  # what is under way is not waited for
        for process in list(pool._processes.values()) if running else []:
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _lanes(job: Job, rows: Sequence[Row]) -> tuple[float, Sequence[float]]:
    """The sigma and the step sizes of a job."""
    if job.sigma is not None:
        return job.sigma, METHODS[job.method].lrs
    _, sigma, lr = tuned(rows, job.method, job.depth, job.samples)
    return sigma, [lr]


_held: list[Problem] = []  # of a process that runs jobs


def _begin(problem: Problem) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this
    begin()
    _held.append(problem)


def _compute(job: Job, sigma: float, lrs: Sequence[float]) -> list[Row]:
    return _held[0].compute(job, sigma, lrs)
