"""The folder of an interrupted run, and the checkpoint that it goes on from."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from pprs.io.files import replacing
from pprs.io.settings import RESUMED, USED, as_toml
from pprs.pipeline import CheckpointError
from pprs.pipeline.checkpoint import newest, read_manifest
from pprs.training.config import TrainConfig

CHECKPOINTS = "checkpoints"


def run_folder(path: Path) -> Path:
    """The folder of the run that a path names: itself, or the run of a checkpoint.

    Raises:
        ValueError: if there is none.
    """
    with suppress(OSError):  # a name that is too long
        for folder in (path, path.parent.parent):
            if (folder / "config.toml").is_file():
                return folder
    raise ValueError(f"cannot go on from {path}: there is no run's config.toml")


def checkpoint_of(path: Path) -> Path:
    """The checkpoint that a path names: itself, or the newest of a run.

    Raises:
        ValueError: if there is none that is complete.
    """
    folder = run_folder(path)
    if path != folder:
        return path.absolute()
    try:
        saved = saved_last(folder)
    except CheckpointError as error:
        raise ValueError(str(error)) from None
    if saved is None:
        raise ValueError(f"{folder} has no checkpoint to go on from: start the run again")
    return saved


def saved_last(folder: Path, *, contents: bool = True) -> Path | None:
    """The newest complete checkpoint of a run, if there is any.

    Args:
        folder: of the run.
        contents: as for `newest`.

    Raises:
        CheckpointError: if all are damaged.
    """
    saved = folder.absolute() / CHECKPOINTS
    name = newest(saved, contents=contents)
    return None if name is None else saved / name


def abandoned(config: TrainConfig) -> Path | None:
    """The folder that ranks with these settings have claimed last, before they were restarted."""
    wanted = tomllib.loads(tomli_w.dumps(kept_settings(config)))
    of_name = re.compile(rf"{re.escape(config.name)}(?:-(\d+))?")
    found = []
    for file in config.out.glob("*/config.toml"):
        match = of_name.fullmatch(file.parent.name)
        if not match:
            continue
        try:
            settings = tomllib.loads(file.read_text())
        except (OSError, ValueError):  # another run's
            continue
        settings.pop(USED, None)
        if settings == wanted:
            found.append((int(match[1] or 1), file.parent))
    return max(found)[1] if found else None


def kept_settings(config: TrainConfig) -> dict[str, Any]:
    """What the `config.toml` of a run holds."""
    return as_toml(replace(config, resume=None))


def resumptions(config: Path, step: int) -> list[int]:
    """After which steps before this one a run has gone on, by its `config.toml`."""
    try:
        used = tomllib.loads(config.read_text()).get(USED, {})
    except (OSError, ValueError):  # it is written anew
        return []
    return [before for before in used.get(RESUMED, []) if before < step]


def numbers_of(checkpoint: Path) -> dict[str, Any]:
    """What a run has kept in a checkpoint besides tensors."""
    user: dict[str, Any] = read_manifest(checkpoint).numbers["user"]
    return user


def cut_back(metrics: Path, step: int) -> list[dict[str, Any]]:
    """Keep the records of a log up to a step, and return them.

    Lines of later steps are about to be written again.
    """
    if not metrics.exists():
        return []
    kept = [(line, record) for line, record in records(metrics) if record["step"] <= step]
    with replacing(metrics) as partial:
        partial.write_bytes(b"".join(line + b"\n" for line, _ in kept))
    return [record for _, record in kept]


def records(metrics: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of a log that are whole, and what they say.

    A kill may have left half a line, and a machine that lost its power lines that are none.
    """
    for line in metrics.read_bytes().splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                yield line, record
