"""Which data sets the cells of a study need, and whether they can be read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast, get_args

from pprs_experiments.study.cell import Cell
from pprs_experiments.tasks.convex import SvmName, read_svm_examples
from pprs_experiments.tasks.images import ImageName, read_images


def needs_data(cell: Cell) -> bool:
    """Whether its data set does not come with a package."""
    return _named(cell) != "digits"


def check_data(cells: Iterable[Cell], data_dir: Path | None) -> None:
    """Read the data sets that cells need, once, before much time is spent.

    Raises:
        ValueError: if one is missing or damaged.
    """
    for name in sorted({_named(cell) for cell in cells if needs_data(cell)}):
        if data_dir is None:
            raise ValueError(f"{name} is needed: name the folder of the data sets with --data-dir")
        if name in get_args(SvmName):
            read_svm_examples(cast(SvmName, name), data_dir)
        else:
            read_images(cast(ImageName, name), data_dir)


def _named(cell: Cell) -> str:
    return str(cell.settings.get("data", "digits"))
