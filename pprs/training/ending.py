"""How a run ended, as its folder tells."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from pprs.pipeline.saving.shards import read_manifest
from pprs.training.resume import checkpoint_of

SUMMARY = "summary.json"


class Interrupted(RuntimeError):
    """A signal ended the run; the message says what was saved, and how to go on."""

    def __init__(self, received: signal.Signals, folder: Path) -> None:
        super().__init__(f"interrupted by {received.name}{_saved(folder)}")
        self.signal = received


def way_on(folder: Path) -> str:
    """How to go on after a failure, if anything was saved."""
    try:
        step = read_manifest(checkpoint_of(folder)).step
    except (ValueError, RuntimeError):
        return ""
    return f"\nStep {step} was saved; go on with: pprs train --resume {folder}"


def ended_by(folder: Path) -> signal.Signals | None:
    """The signal that ended a run, as the run itself has written."""
    try:
        ended = json.loads((folder / SUMMARY).read_text())["ended"]
    except (OSError, ValueError, KeyError):
        return None
    return signal.Signals.__members__.get(ended)


def _saved(folder: Path) -> str:
    try:
        step = read_manifest(checkpoint_of(folder)).step
    except ValueError:
        return f" before anything was saved in {folder}"
    # Only a run that has saved on the signal says so.
    last = f" after step {step}, saved" if ended_by(folder) else f"; step {step} was saved last"
    return f"{last}; go on with: pprs train --resume {folder}"
