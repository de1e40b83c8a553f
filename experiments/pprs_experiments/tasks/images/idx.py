"""The IDX format, compressed by gzip: a magic number, the sizes, and the bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from pprs_experiments.tasks.files import read_bytes

_UNSIGNED_BYTES = 0x08


def read_idx(file: Path, dimensions: int) -> Tensor:
    """The bytes of a file, in their shape.

    Args:
        file: its name ends in `.gz`.
        dimensions: how many it has to have.

    Returns:
        A tensor of type uint8.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    content = _unpacked(file)
    magic = (_UNSIGNED_BYTES << 8) + dimensions
    found = int.from_bytes(content[:4], "big")
    if len(content) < 4 or found != magic:
        raise ValueError(
            f"{file} is damaged: expected the magic number {magic:#010x} (bytes in {dimensions} "
            f"dimensions), found {content[:4].hex(' ') or 'nothing'}"
        )
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise ValueError(
            f"{file} is damaged: expected a header of {header} bytes, found {len(content)}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise ValueError(
            f"{file} is damaged: expected {math.prod(shape)} bytes for the sizes "
            f"{' x '.join(map(str, shape))} that it tells, found {len(content) - header}"
        )
    if not math.prod(shape):
        return torch.empty(shape, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(shape)


def _unpacked(file: Path) -> bytes:
    content = read_bytes(file)
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{file} is damaged: expected one whole gzip file, found {len(content)} bytes of which "
            f"gzip says: {error}"
        ) from error
