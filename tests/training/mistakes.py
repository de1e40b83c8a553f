"""A file of functions of a user, to which mistakes are added."""

import pytest

from pprs.training import TrainConfig
from pprs.training.check import check

GOOD = """
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

X, Y = torch.randn(10, 4), torch.arange(10) % 3

class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y))

class DataFrame:
    def __len__(self):
        return 3
    def __getitem__(self, key):
        raise KeyError(key)

def model():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

def data():
    return TensorDataset(X, Y)

def tokens():
    x = torch.randint(9, (10, 5), generator=torch.Generator().manual_seed(0))
    y = x.clone()
    y[1, 2:] = -100
    return TensorDataset(x, y)

def reader():
    return nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 9))

def summed(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="sum")
"""


def settings(**changes):
    return TrainConfig(**{"model": "mine.py:model", "data": "mine.py:data", "steps": 3} | changes)


def refusal(file, source, **changes):
    """The sentence with which settings are refused, and where its last line is in the file."""
    file.write_text(GOOD + source)
    with pytest.raises(ValueError, match=".") as error:
        check(settings(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)
