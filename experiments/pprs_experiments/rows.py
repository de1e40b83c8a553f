"""Rows of results: a line of JSON each, in a file that several processes may add to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pprs_experiments.study.store import alone

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def append(file: Path, rows: Iterable[DataclassInstance]) -> None:
    """Add rows, all at once; a line that was cut short before is gone.

    Raises:
        ValueError: if the file cannot be written.
    """
    with alone(file), file.open("a") as opened:
        opened.write("".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read(file: Path, row: Callable[[Mapping[str, Any]], T], of: str) -> list[T]:
    """All rows; of a line that was cut short, nothing.

    Args:
        file: which need not be there.
        row: from what a line holds, by the names of the fields.
        of: what they are results of, for errors.

    Raises:
        ValueError: for a line that is no such row.
    """
    text = file.read_text() if file.exists() else ""
    rows = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            rows.append(row(json.loads(line)))
        except (TypeError, KeyError, ValueError):
            raise ValueError(f"{file}, line {number}: not a result of {of}") from None
    return rows
