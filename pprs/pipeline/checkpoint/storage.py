"""The format of a checkpoint: a safetensors file of each rank and a manifest; no pickle.

torch.distributed.checkpoint does not fit: it keeps numbers in a pickle or, with safetensors, not
at all, it has no checksums (a flipped byte loads), and a half-written folder looks complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pprs.pipeline.checkpoint.collectives import CheckpointError
from pprs.pipeline.checkpoint.shard import ROOM, Entry, dtype_name, read_shard, reason

MANIFEST = "manifest.json"
_FORMAT = "pprs checkpoint 1"
_SHARD = re.compile(r"rank-\d+\.safetensors")


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds.

    Args:
        step: the number of steps done.
        numbers: what all ranks share.
        files: the bytes of each file, by name.
        tensors: by full name.
    """

    step: int
    numbers: dict[str, Any]
    files: dict[str, int]
    tensors: dict[str, Entry]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest down to the disk; the shards must be there.

    Raises:
        CheckpointError: if it cannot be written.
    """
    body = asdict(manifest)
    text = json.dumps({"format": _FORMAT, "sha256": _sum(body), "body": body}, indent=1)
    path = folder / MANIFEST
    try:
        path.write_text(text, encoding="ascii")
        _sync(path)
        _sync(folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {reason(error)}; {ROOM}") from error


def commit(partial: Path, final: Path) -> None:
    """Give a folder its name: from here on the checkpoint exists, and completely.

    Raises:
        CheckpointError: if it cannot be renamed.
    """
    try:
        partial.rename(final)
        _sync(final.parent)
    except OSError as error:
        raise CheckpointError(f"cannot rename {partial} to {final}: {reason(error)}") from error


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest, and see that all its files are there in full length.

    Raises:
        CheckpointError: naming the file that is missing, truncated or edited.
    """
    path = folder / MANIFEST
    try:
        whole = json.loads(path.read_bytes())
        if whole["format"] != _FORMAT:
            raise CheckpointError(
                f"{path} is of the format {whole['format']!r}, but this version reads {_FORMAT!r}"
            )
        if _sum(whole["body"]) != whole["sha256"]:
            raise CheckpointError(f"{path} was changed after it was written: its checksum differs")
        manifest = _parsed(**whole["body"])
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it holds no manifest ({error!r})") from error
    for name, size in manifest.files.items():
        _check_size(folder / name, size)
    return manifest


def read_tensors(folder: Path, manifest: Manifest, names: Iterable[str]) -> dict[str, Tensor]:
    """Read some tensors, each checked against the manifest, whichever ranks wrote them.

    Returns:
        New tensors on the CPU, by name.

    Raises:
        CheckpointError: naming the file that is damaged.
    """
    of_file: dict[str, dict[str, Entry]] = {}
    for name in names:
        entry = manifest.tensors[name]
        of_file.setdefault(entry.file, {})[name] = entry
    read: dict[str, Tensor] = {}
    for file, entries in of_file.items():
        read |= read_shard(folder / file, entries)
    return read


def verify(folder: Path) -> None:
    """Read everything; raise `CheckpointError` unless the checkpoint is intact."""
    manifest = read_manifest(folder)
    for name in manifest.tensors:
        read_tensors(folder, manifest, [name])


def check_fits(manifest: Manifest, tensors: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` unless the checkpoint holds tensors of these names, shapes and types."""
    check_holds(manifest, tensors)
    for name, tensor in tensors.items():
        entry = manifest.tensors[name]
        if (entry.dtype, entry.shape) != (dtype_name(tensor), list(tensor.shape)):
            raise ValueError(
                f"{name!r} has shape {list(tensor.shape)} and type {dtype_name(tensor)}, but the "
                f"checkpoint holds shape {entry.shape} and type {entry.dtype}"
            )


def check_holds(manifest: Manifest, names: Collection[str]) -> None:
    """Raise `ValueError` unless the checkpoint holds tensors of these names."""
    absent = [name for name in names if name not in manifest.tensors]
    if absent:
        raise ValueError(
            f"the checkpoint of step {manifest.step} does not hold {', '.join(map(repr, absent))}: "
            f"it was written for another network or optimizer"
        )


def _parsed(
    step: int, numbers: dict[str, Any], files: dict[str, int], tensors: dict[str, Any]
) -> Manifest:
    entries = {name: Entry(**entry) for name, entry in tensors.items()}
    for file in [*files, *(entry.file for entry in entries.values())]:
        if not _SHARD.fullmatch(file) or file not in files:  # no way out of the folder
            raise ValueError(f"{file!r} is no shard")
    return Manifest(step, numbers, files, entries)


def _sum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _check_size(path: Path, size: int) -> None:
    try:
        seen = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} is missing: {reason(error)}") from None
    if seen != size:
        raise CheckpointError(f"{path} is damaged: it has {seen} bytes instead of {size}")


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
