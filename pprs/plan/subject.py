"""What is measured: the user's model on the user's data, or a ReLU network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from pprs.plan.measure import Subject
from pprs.smoothing import DEFAULT_SIGMA, Perturbation
from pprs.training.check import check
from pprs.training.config import TrainConfig
from pprs.training.task import Task

_CLASSES = 10


def named_subject(config: TrainConfig) -> Subject:
    """The model, data and loss that settings name, on the first examples.

    Raises:
        ValueError: with what the user's functions must return, and what they returned.
    """
    task = Task.of(config)
    numbers = [i % len(task.training) for i in range(task.order.batch)]
    batch = task.training.batch(numbers)
    example = task.training.arguments(batch)
    law = perturbation(config.sigma, config.count)
    return Subject(task.model, task.loss, batch.inputs, batch.target, example, law)


def checked(config: TrainConfig) -> TrainConfig:
    """The settings, once what they name was tried in this process.

    Raises:
        ValueError: if anything is wrong.
    """
    check(config)
    return config


def built_in(width: int, depth: int, batch: int, law: Perturbation) -> Subject:
    """A ReLU network of linear layers on random examples."""
    torch.manual_seed(0)
    layers = [layer for _ in range(depth - 1) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(width, _CLASSES))
    inputs = torch.randn(batch, width)
    return Subject(
        model, F.cross_entropy, (inputs,), torch.arange(batch) % _CLASSES, (inputs,), law
    )


def perturbation(sigma: float | None, samples: int) -> Perturbation:
    """K perturbations, of 0.01 of each filter's norm without a sigma."""
    if sigma is None:
        return Perturbation.filter(DEFAULT_SIGMA, samples)
    return Perturbation(sigma, samples)
