"""What is trained: a small network on scikit-learn's digits, which says when the first step begins.

`pprs train` calls `model` and `data` as it would a user's. A rank asks for the first batch of a
training step where its first step begins; the checks before read the first two examples only.
"""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

# The environment variable with the folder in which each rank writes when its first step begins.
FOLDER = "PPRS_STARTUP_FOLDER"
_CHECKED = 2


def model() -> nn.Module:
    """A network of three layers."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


class Digits(Dataset[tuple[Tensor, Tensor]]):
    """The scans, and a note of when the first batch is read."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels
        self._noted = "RANK" not in os.environ

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        if not self._noted and number >= _CHECKED:
            self._noted = True
            now = str(time.monotonic())  # the same clock for all processes
            Path(os.environ[FOLDER], os.environ["RANK"]).write_text(now)
        return self._images[number], self._labels[number]


def read() -> Digits:
    """Read from the table in scikit-learn's folder, by NumPy alone."""
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    table = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(table, delimiter=",", dtype=np.float32)
    return Digits(torch.from_numpy(rows[:, :-1] / 16), torch.from_numpy(rows[:, -1]).long())


def load() -> Digits:
    """Loaded by scikit-learn, whose import each process of a run waits for."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return Digits(torch.tensor(images / 16).float(), torch.tensor(labels))
