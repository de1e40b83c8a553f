"""How a run ended, read from its folder."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pprs.io.folder import claim
from pprs.pipeline import CheckpointError
from pprs.pipeline.checkpoint import read_manifest
from pprs.training.config import TrainConfig
from pprs.training.resume import records, saved_last

SUMMARY = "summary.json"


class Interrupted(RuntimeError):
    """A signal ended a run or a comparison; the message says what is kept, and how to go on.

    Args:
        received: the signal.
        kept: the end of the message.
    """

    def __init__(self, received: signal.Signals, kept: str) -> None:
        super().__init__(f"interrupted by {received.name}{kept}")
        self.signal = received

    @classmethod
    def in_folder(cls, received: signal.Signals, folder: Path) -> Interrupted:
        """That of a training."""
        steps = steps_of(folder)
        # Only a run that has saved on the signal says so.
        last = " after step {}, saved" if ended_by(folder) else "; step {} was saved last"
        kept = how_to_resume(folder, last, steps)
        if not kept and steps:
            kept = f": nothing was saved, from step 1 to {steps}; {folder} keeps metrics.jsonl"
        return cls(received, kept or " before the first step: nothing is kept")


@contextmanager
def claimed(config: TrainConfig, folder: Path | None) -> Iterator[Path]:
    """The folder of a run inside; if that ends before its first step, no new folder is left.

    Args:
        config: the settings.
        folder: of the run that this one goes on from, if there is one.

    Raises:
        Interrupted: for an interrupt that nobody else has noticed.
    """
    new = folder is None
    missing: list[Path] = []
    with suppress(OSError):  # of a name that is too long claim() says so
        missing = [path for path in (config.out, *config.out.parents) if not path.exists()]
    folder = folder or claim(config.out, config.name)
    try:
        yield folder
    except (KeyboardInterrupt, Interrupted) as error:
        if isinstance(error, KeyboardInterrupt):
            raised = Interrupted.in_folder(signal.SIGINT, folder)
        else:
            raised = error
        if new and not steps_of(folder) and not how_to_resume(folder):
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # another run may have come
                for path in missing:
                    path.rmdir()
        raise raised from None


def steps_of(folder: Path) -> int:
    """The last step in the log of a run, 0 before the first one."""
    try:
        return max((record["step"] for _, record in records(folder / "metrics.jsonl")), default=0)
    except OSError:
        return 0


def how_to_resume(folder: Path, saved: str = "\nStep {} was saved", steps: int = 0) -> str:
    """The step that was saved and the command that goes on from it; nothing if none was.

    Args:
        folder: of the run.
        saved: how it is said, with a place for the step.
        steps: the number done.
    """
    with suppress(CheckpointError):
        checkpoint = saved_last(folder, contents=False)
        if checkpoint is not None:
            step = read_manifest(checkpoint).step
            lost = f", nothing from step {step + 1} to {steps}" if steps > step else ""
            return f"{saved.format(step)}{lost}; go on with: pprs train --resume {folder}"
    return ""


def ended_by(folder: Path) -> signal.Signals | None:
    """The signal that ended a run, as the run itself has written."""
    try:
        ended = json.loads((folder / SUMMARY).read_text())["ended"]
    except (OSError, ValueError, KeyError):
        return None
    return signal.Signals.__members__.get(ended)
