"""Problems of few labelled images: what is trained on them, and how it is measured."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pprs.compare.examples import Examples
from pprs.training.losses import Loss
from pprs_experiments.study.cost import OVERHEAD, Cost
from pprs_experiments.study.problem import Adversary, Measure, Problem, drawing
from pprs_experiments.tasks.few_shot import FewShot
from pprs_experiments.tasks.images import ImageName, read_images
from pprs_experiments.tasks.images.images import Images


@functools.cache
def source(data: ImageName, data_dir: Path | None) -> Images:
    """A data set, as `read_images`; a process reads it once."""
    return read_images(data, data_dir)


def classification(
    task: FewShot,
    network: nn.Sequential,
    loss: Loss,
    *,
    divisible: bool = True,
    adversary: Adversary | None = None,
    measured: Mapping[str, Measure] | None = None,
    overhead: float = OVERHEAD,
) -> Problem:
    """Train a network on few images; its pieces are the nodes of the pipeline.

    With an adversary the training loss is that of attacked examples.

    Args:
        task: the examples.
        network: in its initial state.
        loss: of outputs and labels.
        divisible: whether the loss is a mean over examples.
        adversary: changes the training examples before every gradient.
        measured: the final metrics; by default the accuracies on the `validation` and on the
            `test` examples, as they are.
        overhead: as for `Cost`.
    """
    batch = (task.train.x, task.train.y)

    def training_loss() -> float:
        x, y = batch if adversary is None else adversary.attack(batch, drawing(0, "measured"))
        return loss(network(x), y).item()

    return Problem(
        network,
        lambda x, y: loss(network(x), y),
        batch,
        Cost(len(network), len(task.train), divisible, overhead),
        training_loss,
        adversary=adversary,
        final_metrics=accuracies(network, task) if measured is None else measured,
    )


def accuracies(network: nn.Module, task: FewShot) -> dict[str, Measure]:
    """The accuracies on the `validation` and on the `test` examples."""
    return {
        "validation": lambda: accuracy(network, task.validation),
        "test": lambda: accuracy(network, task.test),
    }


def accuracy(network: nn.Module, examples: Examples) -> float:
    """The part of the examples that a network is right about."""
    return right(network, examples).double().mean().item()


def worst_class_accuracy(network: nn.Module, examples: Examples) -> float:
    """The accuracy on the examples of that class for which it is least."""
    correct = right(network, examples).double()
    return min(correct[examples.y == label].mean().item() for label in set(examples.y.tolist()))


@torch.no_grad()
def right(network: nn.Module, examples: Examples) -> Tensor:
    """Which examples a network is right about; it is not where its outputs are not finite."""
    outputs: Tensor = network(examples.x)
    return (outputs.argmax(1) == examples.y) & outputs.isfinite().all(1)
