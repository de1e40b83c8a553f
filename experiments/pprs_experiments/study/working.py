"""Workers: processes that take jobs from the queue until none is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from pprs.pipeline.launcher.signals import handled
from pprs_experiments.study.job import Job
from pprs_experiments.study.queue import Queue, worker_name
from pprs_experiments.study.results import Result

PROCESSES = multiprocessing.get_context("spawn")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL = 1.0  # seconds


def work(storage: str, name: str, jobs: Mapping[str, Job], data_dir: Path | None) -> None:
    """Compute jobs until none waits or runs, on one core.

    At the end it waits for the jobs of other workers, since one of them may be killed. A signal
    ends the process at once; what it had under way is free after some heartbeats.

    Args:
        storage: as for `Queue`.
        name: as for `Queue`.
        jobs: all there may be, by key.
        data_dir: as for `Job.compute`.

    Raises:
        ValueError: if the storage cannot be opened, or holds jobs of another version.
    """
    import torch

    torch.set_num_threads(1)
    queue, parent = Queue(storage, name), os.getppid()
    ending = [each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]

    def compute(key: str) -> Result:
        return jobs[key].compute(queue.study(key, jobs[key].direction), data_dir)

    with handled(lambda received, _: queue.leave(128 + received), ending):
        while os.getppid() == parent:
            _check_known(queue, jobs)
            if not queue.take(compute):
                if not queue.standing().running:
                    return
                time.sleep(_POLL)


def _check_known(queue: Queue, jobs: Mapping[str, Job]) -> None:
    """Raise `ValueError` if a job waits that is not among these."""
    unknown = [key for key in queue.standing().waiting if key not in jobs]
    if unknown:
        raise ValueError(
            f"the storage holds {len(unknown)} jobs that this version of the study does not have, "
            f"such as {unknown[0]}: use another storage, or the version that added them"
        )


@contextmanager
def workers(
    number: int, queue: Queue, jobs: Mapping[str, Job], data_dir: Path | None
) -> Iterator[list[BaseProcess]]:
    """Processes that work inside the block; at its end they are stopped, and their jobs are free.

    Args:
        number: of processes.
        queue: that they work on.
        jobs: as for `work`.
        data_dir: as for `work`.
    """
    started: list[BaseProcess] = [
        PROCESSES.Process(
            target=work, args=(queue.storage, queue.name, jobs, data_dir), daemon=True
        )
        for _ in range(number)
    ]
    try:
        with _silent_tracker(), _without_interrupts():
            for process in started:
                process.start()
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()
        release(queue, started)


@contextmanager
def _silent_tracker() -> Iterator[None]:
    """What watches over the processes does not tell of semaphores that stopped ones leave."""
    name, before = "PYTHONWARNINGS", os.environ.get("PYTHONWARNINGS")
    quiet = "ignore:resource_tracker:UserWarning"
    os.environ[name] = f"{before},{quiet}" if before else quiet
    try:
        yield
    finally:
        del os.environ[name]
        if before:
            os.environ[name] = before


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """What starts inside gets no SIGINT; this process gets it afterwards.

    Ctrl-C reaches all processes of a terminal, and who started them decides what it means.
    """
    resource_tracker.ensure_running()  # it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release(queue: Queue, processes: Iterable[BaseProcess]) -> list[str]:
    """Free the jobs of those that have been killed, and give their keys."""
    killed = [p.pid for p in processes if p.exitcode and p.pid is not None]
    return queue.release(worker_name(pid) for pid in killed)
