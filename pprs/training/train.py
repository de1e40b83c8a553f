"""Start the processes of a run, and report how it ended."""

from __future__ import annotations

import signal
from pathlib import Path

from pprs._processes import EarlyProcesses
from pprs.io.notices import progress
from pprs.pipeline import LaunchError, LaunchInterrupted, check_world, joined, launch
from pprs.training.check import check
from pprs.training.config import TrainConfig
from pprs.training.ending import Interrupted, claimed, ended_by, how_to_resume
from pprs.training.rank_log import log_sizes, with_log
from pprs.training.refusal import tell
from pprs.training.resume import run_folder
from pprs.training.run import run_rank

# Seconds that the ranks have to end their step and save, once a signal has come.
_GRACE = 30.0


def train(config: TrainConfig, early: EarlyProcesses | None = None) -> None:
    """Train in as many processes as the settings need.

    Args:
        config: the settings.
        early: processes that have been started for this, if any.

    Raises:
        ValueError: if anything is wrong that can be known before it starts.
        LaunchError: if a rank fails.
        Interrupted: after a signal; what was done so far is saved.

    Example:
        >>> train(TrainConfig(model="mine.py:model", data="mine.py:data"))  # doctest: +SKIP
    """
    if joined():
        check_world(config.processes)
    progress("checking the model and the data…")
    try:
        start = check(config)
    except ValueError as error:
        tell(str(error), config.processes, config.silence)
        raise
    folder = run_folder(config.resume) if config.resume else None
    if joined():
        _join(config, folder, start)
        return
    with claimed(config, folder) as folder:
        progress(f"starting {_counted(config.processes)}…")
        _launch(config, folder, start, early)


def _launch(
    config: TrainConfig, folder: Path, start: Path | None, early: EarlyProcesses | None
) -> None:
    logs = log_sizes(folder)
    try:
        launch(
            run_rank,
            config.processes,
            config,
            folder,
            start,
            max_restarts=config.max_restarts,
            grace=_GRACE,
            silence=config.silence,
            early=early,
        )
    except LaunchInterrupted as error:
        raise Interrupted.in_folder(error.signal, folder) from None
    except LaunchError as error:
        raise LaunchError(f"{with_log(error, folder, logs)}{how_to_resume(folder)}") from None
    received = ended_by(folder)
    if received is not None:  # the ranks were signalled, not this process
        raise Interrupted.in_folder(received, folder)


def _join(config: TrainConfig, folder: Path | None, start: Path | None) -> None:
    """Be one of the ranks that something else has started; they claim a folder together."""
    ends: list[Interrupted] = []

    def interrupted(received: signal.Signals, folder: Path) -> None:
        ends.append(Interrupted.in_folder(received, folder))

    # Raised only here: inside, it would count as the failure of a rank.
    try:
        launch(run_rank, config.processes, config, folder, start, interrupted)
    except LaunchError as error:
        noted = "".join(f"; {note}" for note in getattr(error.__cause__, "__notes__", ()))
        raise LaunchError(f"{error.sentence}{noted}") from None
    if ends:
        raise ends[0]


def _counted(processes: int) -> str:
    return "a process" if processes == 1 else f"{processes} processes"
