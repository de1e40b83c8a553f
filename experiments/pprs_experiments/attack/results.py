"""What came out: a line for each method, setting and part of the images, in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from pprs_experiments.attack.plan import FROGS, TUNING
from pprs_experiments.study.store import alone


class Setting(NamedTuple):
    """What a grid is over: K, sigma, and the step size or what takes its place."""

    samples: int
    sigma: float
    lr: float


@dataclass(frozen=True)
class Row:
    r"""How a method did at one setting.

    Args:
        job: its key.
        pair: of classes.
        part: of the images.
        depth: $\Delta$; 0 where it makes no difference.
        method: its name.
        setting: K is 0 where the method chose it.
        images: their places among the held-out ones.
        curve: of each image, losses at equal parts of the budget; infinite where not finite.
        distance: of each image, $\|\tilde x - x\|_\infty$ at the end.
        taken: of each image, whether it is taken for the target at the end.
        queries: gradients of each image.
        time: pipeline time; that at depth 1 where the depth makes no difference.
        seconds: that the whole job took.
    """

    job: str
    pair: str
    part: int
    depth: int
    method: str
    setting: Setting
    images: Sequence[int]
    curve: Sequence[Sequence[float]]
    distance: Sequence[float]
    taken: Sequence[bool]
    queries: int
    time: float
    seconds: float

    @property
    def final(self) -> list[float]:
        """The last loss of each image."""
        return [curve[-1] for curve in self.curve]

    def is_of(self, pair: str, method: str, depth: int, samples: int | None) -> bool:
        """Whether it is of a method, at a depth and a K, or any."""
        named = (self.pair, self.method) == (pair, method) and self.depth in (0, depth)
        return named and samples in (None, self.setting.samples)


def append(file: Path, rows: Iterable[Row]) -> None:
    """Add the rows of a job, all at once; a line that was cut short before is gone.

    Raises:
        ValueError: if the file cannot be written.
    """
    with alone(file), file.open("a") as opened:
        opened.write("".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read(file: Path) -> list[Row]:
    """All rows; of a line that was cut short, nothing; of a job that was run twice, the last.

    Raises:
        ValueError: for a line that is not one of these.
    """
    text = file.read_text() if file.exists() else ""
    rows = {}
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            held = json.loads(line)
            row = Row(**held | {"setting": Setting(*held["setting"])})
        except (TypeError, KeyError, ValueError):
            raise ValueError(f"{file}, line {number}: not a result of an attack") from None
        rows[row.job, row.setting] = row
    return list(rows.values())


def tuned(rows: Iterable[Row], method: str, depth: int, samples: int | None = None) -> Setting:
    """The setting with the lowest mean loss at the end of the images for tuning, of those run.

    Args:
        rows: of results.
        method: its name.
        depth: of the pipeline.
        samples: K, or that which is best.

    Raises:
        LookupError: if none has been run.
    """
    found = [
        (fmean(row.final), row.setting)
        for row in rows
        if row.part in TUNING and row.is_of(FROGS.name, method, depth, samples)
    ]
    if not found:
        raise LookupError(f"{method} has not been tuned at depth {depth}")
    return min(found)[1]
