"""The folder of a run's checkpoints: only complete ones have a checkpoint's name."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pprs.pipeline.checkpoint.collectives import CheckpointError
from pprs.pipeline.checkpoint.shard import Entry
from pprs.pipeline.checkpoint.storage import (
    Manifest,
    commit,
    read_manifest,
    verify,
    write_manifest,
)

_NAME = re.compile(r"(\d+)-step-\d+")
_PARTIAL = ".partial-"


def begin(folder: Path, step: int) -> Path:
    """Make the folder to write a checkpoint into, and remove what killed runs have left."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(left)
    number = 1 + max(map(_number, _complete(folder)), default=0)
    partial = folder / f"{_PARTIAL}{number:06d}-step-{step}"
    partial.mkdir()
    return partial


def finish(partial: Path, step: int, parts: list[Any], keep: int) -> None:
    """Make a checkpoint of what the ranks have written, and remove all but the newest ones.

    Args:
        partial: what `begin` gave.
        step: the number of steps done.
        parts: of each rank, what `write_shard` gave and its
            numbers.
        keep: how many complete ones stay.

    Raises:
        CheckpointError: if ranks contradict each other, or the disk fails.
    """
    folder = partial.parent
    write_manifest(partial, _merged(step, parts))
    commit(partial, folder / partial.name.removeprefix(_PARTIAL))
    complete = 0
    for checkpoint in _complete(folder):
        if complete == keep:
            gone = checkpoint.with_name(f"{_PARTIAL}{checkpoint.name}")
            checkpoint.rename(gone)  # first, so that a kill leaves no half of it
            shutil.rmtree(gone)
        elif _damage(checkpoint, read_manifest) is None:
            complete += 1


def newest(folder: Path, *, contents: bool = True) -> str | None:
    """The name of the newest intact checkpoint; warns of newer ones that are damaged.

    Args:
        folder: of the checkpoints.
        contents: read all of a checkpoint's files, not only its manifest and their sizes. A run
            that starts again by itself must not choose one on which it fails each time.

    Raises:
        CheckpointError: if all are damaged.
    """
    damages: list[str] = []
    for checkpoint in _complete(folder):
        damage = _damage(checkpoint, verify if contents else read_manifest)
        if damage is None:
            if damages:
                warnings.warn(f"{'; '.join(damages)}. {checkpoint.name} is intact", stacklevel=2)
            return checkpoint.name
        damages.append(damage)
    if damages:
        raise CheckpointError(f"no checkpoint in {folder} is intact: {'; '.join(damages)}")
    return None


def intact(damaged: Path) -> str:
    """A sentence on where to go on instead."""
    for checkpoint in _complete(damaged.parent):
        if checkpoint.name != damaged.name and _damage(checkpoint, verify) is None:
            return f"Intact is {checkpoint}"
    return f"No other checkpoint in {damaged.parent} is intact"


def _merged(step: int, parts: list[Any]) -> Manifest:
    """The manifest of what the ranks have written and passed."""
    whole = Manifest(step, {}, {}, {})
    for rank, (files, entries, numbers) in enumerate(parts):
        for name, value in numbers.items():
            if _text(whole.numbers.setdefault(name, value)) != _text(value):
                raise CheckpointError(
                    f"rank {rank} has numbers[{name!r}]={value!r}, but a rank before it has "
                    f"{whole.numbers[name]!r}: they must be the same on all ranks"
                )
        for name, entry in entries.items():
            if name in whole.tensors:
                raise CheckpointError(
                    f"{whole.tensors[name].file} and rank {rank} both hold {name!r}: every tensor "
                    f"belongs to one rank"
                )
            whole.tensors[name] = Entry(**entry)
        whole.files.update(files)
    return whole


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # which compares NaN by what it is


def _complete(folder: Path) -> list[Path]:
    """The complete checkpoints in a folder, newest first."""
    if not folder.is_dir():
        return []
    return sorted((f for f in folder.iterdir() if _NAME.fullmatch(f.name)), key=_number)[::-1]


def _number(folder: Path) -> int:
    return int(folder.name.partition("-")[0])


def _damage(folder: Path, check: Callable[[Path], object]) -> str | None:
    try:
        check(folder)
    except CheckpointError as error:
        return str(error)
    return None
