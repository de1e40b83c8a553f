"""The folder of a run: never overwritten, written as the run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any


def claim(out: Path, name: str) -> Path:
    """Make the folder `out/name`, or the next free of `name-2`, `name-3`, …

    Raises:
        ValueError: if nothing can be written there; no folder is left behind.
    """
    made: list[Path] = []
    try:
        _make(out, made)
        return _next_free(out, name)
    except FileExistsError:
        raise ValueError(f"cannot write runs to {out}: it is not a folder") from None
    except OSError as error:
        for folder in reversed(made):
            folder.rmdir()
        raise ValueError(f"cannot write runs to {out}: {error.strerror}") from None


def check_name(name: str) -> None:
    """Raise `ValueError` unless it can name a folder in another one."""
    # Room for a number behind it, within the 255 bytes of a name.
    fits = len(os.fsencode(name)) <= 240 and "\0" not in name
    if not fits or name == ".." or not name or Path(name).name != name:
        raise ValueError(f"name must be a single folder's name, got {name!r}")


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, and add them to a list."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make(folder.parent, made)
    folder.mkdir(exist_ok=True)
    made.append(folder)


def _next_free(out: Path, name: str) -> Path:
    for i in count(1):
        folder = out / (name if i == 1 else f"{name}-{i}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


class Log:
    """Appends one JSON object per line, and leaves no line behind in a buffer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record; numbers that are not finite become `null`."""
        self._file.write(to_json(record) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON: what is not finite becomes `null`, since JSON has no word for it."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
