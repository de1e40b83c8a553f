"""Files that commands write."""

from __future__ import annotations

from pathlib import Path


def check_file(file: Path | None, suffixes: tuple[str, ...] = ()) -> None:
    """Raise ``ValueError`` if a file cannot be written, before any work is lost."""
    if file is None:
        return
    if not file.parent.is_dir():
        raise ValueError(f"cannot write {file}: {file.parent} is not a folder")
    if file.is_dir():
        raise ValueError(f"cannot write {file}: it is a folder")
    if suffixes and file.suffix not in suffixes:
        raise ValueError(f"cannot write {file}: its name must end in {', '.join(suffixes)}")
