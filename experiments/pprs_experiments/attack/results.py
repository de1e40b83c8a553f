"""What came out: a line for each method, setting and part of the images, in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from pprs_experiments import rows
from pprs_experiments.attack.plan import FROGS, TUNING


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


def read(file: Path) -> list[Row]:
    """All rows; of a line that was cut short, nothing; of a job that was run twice, the last.

    Raises:
        ValueError: for a line that is not one of these.
    """
    found = rows.read(file, _row, "an attack")
    return list({(row.job, row.setting): row for row in found}.values())


def _row(held: Mapping[str, Any]) -> Row:
    return Row(**{**held, "setting": Setting(*held["setting"])})


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
