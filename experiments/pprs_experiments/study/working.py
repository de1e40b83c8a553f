"""Processes that compute jobs, each on one core."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

from pprs._parent import watch_parent
from pprs_experiments.study.job import Job
from pprs_experiments.study.results import Result, read_results
from pprs_experiments.study.store import alone, append, claimed

PROCESSES = multiprocessing.get_context("spawn")
_POLL = 1.0  # seconds


def compute(job: Job, file: Path, data_dir: Path | None, *, wait: bool) -> Result | None:
    """The result of a job, from the file or added to it.

    Args:
        job: what to compute.
        file: of results.
        data_dir: as for `Job.compute`.
        wait: for the result of a process that computes this job now; else there is none.
    """
    with claimed(file, job, wait=wait) as ours:
        if not ours:
            return None
        with alone(file):
            held = read_results(file) if file.exists() else []
        for result in held:
            if result.key == job.key:
                return result
        result = job.compute(data_dir)
        append(file, result)
        return result


def work(
    jobs: Iterable[Job],
    processes: int,
    file: Path,
    data_dir: Path | None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Job, Future[Result | None]]]:
    """Compute jobs that have no result yet; those that others compute meanwhile come last.

    A job whose process was killed is computed once more.

    Args:
        jobs: what to compute.
        processes: how many compute at once.
        file: of results, to which they are added.
        data_dir: as for `Job.compute`.
        stopped: whether to end at once, asked every second; what is under way is lost then.

    Yields:
        Each job that has ended, with its result or its error.
    """
    waiting = deque((job, False) for job in jobs)
    killed: set[str] = set()
    running: dict[Future[Result | None], tuple[Job, ProcessPoolExecutor]] = {}
    with _pools() as start:
        free = [start() for _ in range(min(processes, len(waiting)))]
        while (waiting or running) and not stopped():
            while waiting and free:
                job, again = waiting.popleft()
                pool = free.pop()
                try:
                    with _quiet():
                        future = pool.submit(compute, job, file, data_dir, wait=again)
                except BrokenProcessPool:  # killed between two jobs
                    free.append(start())
                    waiting.appendleft((job, again))
                else:
                    running[future] = job, pool
            for future in wait(running, _POLL, FIRST_COMPLETED).done:
                job, pool = running.pop(future)
                broken = isinstance(future.exception(), BrokenProcessPool)
                free.append(start() if broken else pool)
                if broken and job.key not in killed:
                    killed.add(job.key)
                    waiting.append((job, True))
                elif not broken and future.exception() is None and future.result() is None:
                    waiting.append((job, True))
                else:
                    yield job, future


@contextmanager
def _pools() -> Iterator[Callable[[], ProcessPoolExecutor]]:
    """Starts pools of one process, so that one that is killed takes only its own job with it."""
    before = set(multiprocessing.active_children())
    with ExitStack() as pools:

        def start() -> ProcessPoolExecutor:
            with _quiet():
                return pools.enter_context(ProcessPoolExecutor(1, PROCESSES, begin))

        try:
            yield start
        finally:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()


def begin() -> None:
    """In a process: one core, and not longer than the process that has started this one."""
    import torch

    torch.set_num_threads(1)
    watch_parent()


@contextmanager
def _quiet() -> Iterator[None]:
    """What starts inside gets no SIGINT; this process gets it afterwards.

    Ctrl-C reaches all processes of a terminal, and who started them decides what it means. And
    what watches over processes does not tell of semaphores that stopped ones leave.
    """
    name, before = "PYTHONWARNINGS", os.environ.get("PYTHONWARNINGS")
    quiet = "ignore:resource_tracker:UserWarning"
    os.environ[name] = f"{before},{quiet}" if before else quiet
    resource_tracker.ensure_running()  # it lets signals through again
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        del os.environ[name]
        if before:
            os.environ[name] = before
