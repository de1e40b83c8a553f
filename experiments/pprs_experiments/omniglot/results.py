"""What came out: a line for each background set and method, in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pprs_experiments import rows


@dataclass(frozen=True)
class Row:
    """A method on the official runs.

    Args:
        background: number of the minimal background set, 1 or 2.
        method: its name.
        settings: that were best in tuning.
        tuned: the accuracy there; `None` where nothing is fine-tuned.
        errors: of each run, how many of its 20 test images were taken for another character.
        losses: of each run, that of its 20 training images at the end.
        steps: that the budget paid for; 0 without fine-tuning.
        seconds: that all took, tuning included.
    """

    background: int
    method: str
    settings: Mapping[str, Any]
    tuned: float | None
    errors: Sequence[int]
    losses: Sequence[float]
    steps: int
    seconds: float


def read(file: Path) -> list[Row]:
    """All rows; of a line that was cut short, nothing.

    Raises:
        ValueError: for a line that is not one of these.
    """
    return rows.read(file, lambda held: Row(**held), "Omniglot's runs")
