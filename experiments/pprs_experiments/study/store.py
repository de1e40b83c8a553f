"""The file of results: several processes may add to it at once, and divide the jobs by it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pprs.io.files import writing
from pprs_experiments.study.job import Job
from pprs_experiments.study.results import Result


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Inside, nobody else writes; a line that was cut short, as one was killed, is gone.

    Raises:
        ValueError: if it cannot be written.
    """
    with writing(file), _beside(file, "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = file.read_bytes() if file.exists() else b""
        if not held.endswith(b"\n") and held:
            os.truncate(file, held.rfind(b"\n") + 1)
        yield


def append(file: Path, result: Result) -> None:
    """Add a result, as a line."""
    with alone(file), file.open("a") as opened:
        opened.write(result.to_line() + "\n")


@contextmanager
def claimed(file: Path, job: Job, *, wait: bool) -> Iterator[bool]:
    """Whether a job is this process's inside the block; the job of one that is killed is free.

    Args:
        file: of the results.
        job: that is wanted.
        wait: until who has it has ended, else tell that it is not ours.
    """
    with _beside(file, "claims").open("ab") as claims:
        byte = int(job.digest, 16) // 4  # of its own for every job: offsets have 63 bits
        try:
            fcntl.lockf(claims, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, byte)
        except BlockingIOError:
            yield False
        else:
            yield True


def _beside(file: Path, name: str) -> Path:
    return file.with_name(f".{file.name}.{name}")
