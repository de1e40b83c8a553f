"""The stages and the step that a process is at, for messages about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# The environment variable with the folder from which the launcher reads the ranks' progress.
FOLDER = "PPRS_PROGRESS_FOLDER"


class _Here:
    stages: Sequence[int] = ()
    step = 0
    file: int | None = None


def report_progress(stages: Sequence[int], step: int) -> None:
    """Say which stages this process runs and which step begins; costs a few microseconds.

    Args:
        stages: the numbers of its stages.
        step: the number of the step.
    """
    _Here.stages, _Here.step = stages, step
    if FOLDER in os.environ:
        if _Here.file is None:
            path = Path(os.environ[FOLDER], os.environ["RANK"])
            _Here.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.pwrite(_Here.file, f"{last_progress()}\n".encode(), 0)


def last_progress() -> str:
    """What was reported last, such as `"stages 0 and 3, step 7"`; nothing if nothing was.

    >>> report_progress([0, 3], 7)
    >>> last_progress()
    'stages 0 and 3, step 7'
    >>> report_progress([], 0)
    """
    if not _Here.stages:
        return ""
    *others, last = map(str, _Here.stages)
    which = f"stages {', '.join(others)} and {last}" if others else f"stage {last}"
    return f"{which}, step {_Here.step}"


def read_progress(folder: Path, rank: int) -> str:
    """What a rank has reported last, read by the launcher."""
    path = folder / str(rank)
    # A shorter report leaves the end of a longer one behind its line.
    return path.read_text().partition("\n")[0] if path.exists() else ""
