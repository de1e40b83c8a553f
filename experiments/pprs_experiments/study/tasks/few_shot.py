"""Few-shot classification: a network on few labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from torch import nn

from pprs.compare.network import relu_network
from pprs_experiments.study.problem import Problem, drawing
from pprs_experiments.study.tasks.classification import (
    accuracies,
    classification,
    source,
    worst_class_accuracy,
)
from pprs_experiments.study.tasks.objective import ObjectiveName, named_objective
from pprs_experiments.tasks.few_shot import FewShot, few_shot
from pprs_experiments.tasks.images import ImageName
from pprs_experiments.tasks.losses import PerExampleName
from pprs_experiments.tasks.networks import (
    convolutional_network,
    image_transformer,
    residual_network,
)

NetworkName: TypeAlias = Literal["relu", "convolutional", "residual", "transformer"]
_HEADS = 4


@dataclass(frozen=True)
class FewShotTask:
    """Measured at the end: the accuracies on `validation` and `test` images.

    Of another objective than the mean, `test worst` too: that of the worst class.

    Args:
        data: a data set.
        shots: training images per class.
        network: its kind; `"transformer"` cuts an image into four patches.
        depth: number of its pieces, for `"transformer"` an even one from 4.
        width: features of the hidden layers; filters of the first convolution.
        loss: of an example.
        objective: of all of them.
        validation: validation images per class.
        test: test images, at most.
    """

    data: ImageName = "digits"
    shots: int = 5
    network: NetworkName = "relu"
    depth: int = 10
    width: int = 64
    loss: PerExampleName = "cross-entropy"
    objective: ObjectiveName = "mean"
    validation: int = 20
    test: int = 2000

    def problem(self, seed: int, data_dir: Path | None) -> Problem:
        """As `pprs_experiments.study.cell.Task.problem`.

        Raises:
            ValueError: for a setting out of its range, or data that cannot be read.
        """
        task = self.examples(seed, data_dir)
        return few_shot_problem(task, self.initial(task, seed), self.objective, self.loss)

    def examples(self, seed: int, data_dir: Path | None) -> FewShot:
        """The images of a seed."""
        return few_shot(
            source(self.data, data_dir),
            self.shots,
            self.validation,
            drawing(seed, "examples"),
            test=self.test,
        )

    def initial(self, task: FewShot, seed: int) -> nn.Sequential:
        """The network of a seed.

        Raises:
            ValueError: for another kind, or one that cannot be so small.
        """
        channels, height, side = task.train.x.shape[1:]
        classes, generator = task.train.classes, drawing(seed, "weights")
        shape, width, depth = (channels, height, side), self.width, self.depth
        chain = channels * height * side, width, classes, depth
        match self.network:
            case "relu":
                return relu_network(*chain, generator=generator, flatten=True)
            case "residual":
                return residual_network(*chain, generator=generator)
            case "convolutional":
                return convolutional_network(shape, width, classes, depth, generator=generator)
            case "transformer":
                if depth < 4 or depth % 2:
                    raise ValueError(f"a transformer's depth must be 4, 6, ..., got {depth}")
                layers = depth // 2 - 1
                return image_transformer(
                    shape, side // 2, width, _HEADS, layers, classes, generator=generator
                )
        raise ValueError(
            f"network must be relu, residual, convolutional or transformer, got {self.network!r}"
        )


def few_shot_problem(
    task: FewShot, network: nn.Sequential, objective: ObjectiveName, loss: PerExampleName
) -> Problem:
    """Train a network for an objective.

    Raises:
        ValueError: for another objective or loss.
    """
    measured = accuracies(network, task)
    if objective != "mean":
        measured["test worst"] = lambda: worst_class_accuracy(network, task.test)
    return classification(
        task,
        network,
        named_objective(objective, loss, task.train.classes),
        divisible=objective == "mean",
        measured=measured,
    )
