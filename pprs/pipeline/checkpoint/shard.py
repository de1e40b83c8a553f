"""One rank's file of a checkpoint: safetensors, written in pieces and hashed on the way."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from pprs.pipeline.checkpoint.collectives import CheckpointError

ROOM = "make room there, or save to another folder"
# Small enough for the caches: what was just hashed is then written from there.
_PIECE = 8 << 20


@dataclass(frozen=True)
class Entry:
    """The file, shape, type and checksum (`sha256` of its bytes) of a tensor."""

    file: str
    dtype: str
    shape: list[int]
    sha256: str


def write_shard(
    folder: Path, rank: int, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, int], dict[str, Any]]:
    """Write one rank's tensors, which are on the CPU and contiguous, down to the disk.

    Returns:
        Its part of the manifest's `files` and of its `tensors`, as JSON.

    Raises:
        CheckpointError: for a disk that is full, a type that safetensors does not know, ...
    """
    from safetensors import SafetensorError

    if not tensors:
        return {}, {}
    path = folder / f"rank-{rank}.safetensors"
    try:
        order, header = _header(tensors)
        with path.open("wb") as file:
            file.write(header)
            sums = {name: _write(file, tensors[name]) for name in order}
            settle(file)
        size = path.stat().st_size
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {path}: {reason(error)}; {ROOM}") from error
    except KeyError as error:
        raise CheckpointError(f"cannot write {path}: safetensors has no type {error}") from error
    entries = {name: asdict(_entry(path, tensors[name], found)) for name, found in sums.items()}
    return {path.name: size}, entries


def read_shard(path: Path, entries: Mapping[str, Entry]) -> dict[str, Tensor]:
    """Read some tensors of a file, each checked against its entry.

    Returns:
        New tensors on the CPU, by name.

    Raises:
        CheckpointError: naming the file, if it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    read: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as shard:
            for name, entry in entries.items():
                # A copy: what is checked must not change with the file.
                tensor = shard.get_tensor(name).clone()
                if _entry(path, tensor, hashlib.sha256(_bytes(tensor)).hexdigest()) != entry:
                    raise CheckpointError(f"{path} is damaged: the checksum of {name!r} differs")
                read[name] = tensor
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {reason(error)}") from error
    return read


def settle(file: BinaryIO) -> None:
    """Bring what was written down to the disk, and out of the page cache.

    Nobody reads it soon. And the next piece finds pages that are in use: fresh ones for a whole
    file cost a virtual machine ten times as much as the copy into them.
    """
    file.flush()
    os.fsync(file.fileno())
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def dtype_name(tensor: Tensor) -> str:
    """The type of a tensor's numbers as a manifest has it."""
    return str(tensor.dtype).removeprefix("torch.")


def reason(error: Exception) -> str:
    """What the operating system says, without its number and the file's name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _header(tensors: Mapping[str, Tensor]) -> tuple[list[str], bytes]:
    """The names in the order of the file, and what precedes their bytes."""
    from safetensors.torch import save

    # Types and order by safetensors itself, from tensors without numbers.
    kinds = {name: tensor.dtype for name, tensor in tensors.items()}
    empty = save({name: torch.empty(0, dtype=kind, device="cpu") for name, kind in kinds.items()})
    entries = json.loads(empty[8 : 8 + int.from_bytes(empty[:8], "little")])
    end = 0
    for name, entry in entries.items():
        begin, end = end, end + tensors[name].nbytes
        entry |= {"shape": list(tensors[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers begin at a multiple of 8
    return list(entries), len(text).to_bytes(8, "little") + text


def _write(file: BinaryIO, tensor: Tensor) -> str:
    """Append a tensor; returns its checksum."""
    data, digest = _bytes(tensor), hashlib.sha256()
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        digest.update(piece)
        before = file.tell()
        file.write(piece)
        if before // _PIECE < file.tell() // _PIECE:
            settle(file)
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    data: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return data


def _entry(path: Path, tensor: Tensor, checksum: str) -> Entry:
    return Entry(path.name, dtype_name(tensor), list(tensor.shape), checksum)
