"""Reading files that may be missing or damaged."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor


def read_bytes(file: Path) -> bytes:
    """What a file holds.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"cannot read {file} ({error.strerror}): data_dir must name the folder that holds "
            f"{file.parent.name}/{file.name}"
        ) from error


def check_labels(file: Path, labels: Tensor, classes: int) -> Tensor:
    """The labels of a file as int64, all below `classes`.

    Raises:
        ValueError: if there is none, or one is larger.
    """
    if not len(labels):
        raise ValueError(f"{file} is damaged: expected at least one label, found none")
    if int(labels.max()) >= classes:
        first = int((labels >= classes).nonzero()[0])
        raise ValueError(
            f"{file} is damaged: expected labels from 0 to {classes - 1}, found "
            f"{int(labels[first])} at number {first}"
        )
    return labels.to(torch.int64)
