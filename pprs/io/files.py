"""Files that commands write."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Raise `ValueError` if a file cannot be written inside the block."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"cannot write {file}: {error.strerror}") from None


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes the file at the end of the block: whole or not at all.

    Its permissions are those that the user's umask gives a new file, whatever writes it.
    """
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)  # of a process that was killed
    partial.touch()
    mode = _mode(partial)
    try:
        yield partial
        if _mode(partial) != mode:  # not every file system can change it
            partial.chmod(mode)
        partial.replace(file)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def write_json(file: Path, value: object) -> None:
    """Write a file of JSON.

    Raises:
        ValueError: if it cannot be written.
    """
    with writing(file):
        file.write_text(json.dumps(value, indent=1))


def check_file(file: Path | None, suffixes: tuple[str, ...] = ()) -> None:
    """Raise `ValueError` if a file cannot be written, before any work is lost."""
    if file is None:
        return
    with writing(file):
        if not file.parent.is_dir():
            raise ValueError(f"cannot write {file}: {file.parent} is not a folder")
        if file.is_dir():
            raise ValueError(f"cannot write {file}: it is a folder")
    if suffixes and file.suffix not in suffixes:
        raise ValueError(
            f"cannot write {file}: the name of a plot or picture must end in {', '.join(suffixes)}"
        )
