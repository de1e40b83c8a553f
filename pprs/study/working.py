"""Workers: processes that take jobs from the queue until none is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from pprs.study.job import Job
from pprs.study.queue import Queue
from pprs.study.results import Result

_POLL = 1.0  # seconds


def work(storage: str, jobs: Mapping[str, Job], data_dir: Path | None) -> None:
    """Compute jobs until none waits or runs, on one core.

    At the end it waits for the jobs of other workers, since one of them may be killed.

    Args:
        storage: as for :class:`Queue`.
        jobs: all there may be, by key.
        data_dir: as for :meth:`Job.compute`.

    Raises:
        ValueError: if the storage cannot be opened, or holds jobs of another version.
    """
    import torch

    torch.set_num_threads(1)
    queue, parent = Queue(storage), os.getppid()

    def compute(key: str) -> Result:
        return jobs[key].compute(queue.study(key, jobs[key].direction), data_dir)

    while os.getppid() == parent:
        check_known(queue, jobs)
        if not queue.take(compute):
            if not queue.running():
                return
            time.sleep(_POLL)


def check_known(queue: Queue, jobs: Mapping[str, Job]) -> None:
    """Raise ``ValueError`` if a job waits that is not among these."""
    unknown = [key for key in queue.waiting() if key not in jobs]
    if unknown:
        raise ValueError(
            f"the storage holds {len(unknown)} jobs that this version of the study does not have, "
            f"such as {unknown[0]}: use another storage, or the version that added them"
        )


@contextmanager
def workers(
    number: int, storage: str, jobs: Mapping[str, Job], data_dir: Path | None
) -> Iterator[list[BaseProcess]]:
    """Processes that work inside the block, and are stopped at its end.

    Args:
        number: of processes, at least 1.
        storage: as for :func:`work`.
        jobs: as for :func:`work`.
        data_dir: as for :func:`work`.
    """
    context = multiprocessing.get_context("spawn")
    started: list[BaseProcess] = [
        context.Process(target=_quietly, args=(storage, jobs, data_dir), daemon=True)
        for _ in range(number)
    ]
    for process in started:
        process.start()
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def _quietly(storage: str, jobs: Mapping[str, Job], data_dir: Path | None) -> None:
    """Work; a signal ends it without a stack, and its job is free again."""
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        work(storage, jobs, data_dir)
    except KeyboardInterrupt:
        os._exit(1)


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt
