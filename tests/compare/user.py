"""A user's model and data; tests copy this file to where the user works."""

import os
import signal
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

DRAWN = torch.Generator().manual_seed(0)
X = torch.randn(80, 4, generator=DRAWN)
Y = (X @ torch.randn(4, 3, generator=DRAWN)).argmax(1)


def model():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


class Residual(nn.Module):
    """Is traced, and has a buffer that is drawn and is not in its state."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)
        self.register_buffer("shift", torch.randn(4), persistent=False)

    def forward(self, x):
        return self.last(x + self.first(x + self.shift).tanh())


def data():
    return TensorDataset(X[:50], Y[:50]), TensorDataset(X[50:], Y[50:])


class Signalling(Dataset):
    """Ctrl-C comes once a file is there, if one is named."""

    def __len__(self):
        return 50

    def __getitem__(self, number):
        wanted = os.environ.get("SIGNAL_ONCE_THERE")
        if wanted and Path(wanted).exists():
            del os.environ["SIGNAL_ONCE_THERE"]
            os.kill(os.getpid(), signal.SIGINT)
        return X[number], Y[number]


def signalling():
    return Signalling(), TensorDataset(X[50:], Y[50:])


def alone():
    return TensorDataset(X, Y)


def singles():
    return TensorDataset(X[:3], torch.arange(3)), TensorDataset(X[50:], Y[50:])


def numbers():
    return TensorDataset(X[:50], X[:50, :2]), TensorDataset(X[50:], X[50:, :2])


def line():
    """One linear layer, which no perturbation can help to reach the optimum of a square."""
    return nn.Linear(4, 2)


def normed():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


CALLS = iter(range(1000))


def failing_late(output, y):
    """A loss with a fault that the check of the first step does not meet."""
    if next(CALLS) > 60:
        raise torch.linalg.LinAlgError("linalg.cholesky: the input is not positive-definite")
    return nn.functional.cross_entropy(output, y)
