"""How a run ended, as its folder tells."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from pathlib import Path

from pprs.pipeline import CheckpointError
from pprs.pipeline.saving.shards import read_manifest
from pprs.training.resume import saved_last

SUMMARY = "summary.json"


class Interrupted(RuntimeError):
    """A signal ended the run; the message says what was saved, and how to go on."""

    def __init__(self, received: signal.Signals, folder: Path) -> None:
        # Only a run that has saved on the signal says so.
        last = " after step {}, saved" if ended_by(folder) else "; step {} was saved last"
        saved = way_on(folder, last) or f" before anything was saved in {folder}"
        super().__init__(f"interrupted by {received.name}{saved}")
        self.signal = received


def way_on(folder: Path, saved: str = "\nStep {} was saved") -> str:
    """What was saved, with the step in its place, and how to go on; nothing if nothing was."""
    with suppress(CheckpointError):
        checkpoint = saved_last(folder, contents=False)
        if checkpoint is not None:
            step = read_manifest(checkpoint).step
            return f"{saved.format(step)}; go on with: pprs train --resume {folder}"
    return ""


def ended_by(folder: Path) -> signal.Signals | None:
    """The signal that ended a run, as the run itself has written."""
    try:
        ended = json.loads((folder / SUMMARY).read_text())["ended"]
    except (OSError, ValueError, KeyError):
        return None
    return signal.Signals.__members__.get(ended)
