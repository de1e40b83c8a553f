"""Fine-tuning: a transformer that knows other classes, on few labelled images."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from pprs._arguments import counts
from pprs_experiments.study.problem import Problem, drawing
from pprs_experiments.study.tasks.classification import accuracy, source
from pprs_experiments.study.tasks.few_shot import few_shot_problem
from pprs_experiments.study.tasks.objective import ObjectiveName
from pprs_experiments.tasks.few_shot import FewShot, few_shot
from pprs_experiments.tasks.images import ImageName
from pprs_experiments.tasks.losses import PerExampleName
from pprs_experiments.tasks.networks import image_transformer, with_new_head

_MINIBATCH = 32
_HELD = 20  # images of every class that tell how well pretraining went
_LR = 2e-3


@dataclass(frozen=True)
class FineTuningTask:
    """A seed draws which half of the classes is known; the others are learned, with a new head.

    Measured at the end as for `FewShotTask`.

    Args:
        data: a data set.
        shots: training images for each class of the second half.
        patch: side of the transformer's patches.
        width: of its features.
        heads: of its attention.
        layers: number of its layers; its pieces are two more than twice as many.
        known: images for each class of the first half.
        pretraining: steps of Adam on minibatches of these.
        loss: of an example.
        objective: of all of them.
        validation: validation images per class.
        test: test images, at most.
    """

    data: ImageName = "digits"
    shots: int = 5
    patch: int = 2
    width: int = 24
    heads: int = 4
    layers: int = 2
    known: int = 140
    pretraining: int = 300
    loss: PerExampleName = "cross-entropy"
    objective: ObjectiveName = "mean"
    validation: int = 20
    test: int = 2000

    def problem(self, seed: int, data_dir: Path | None) -> Problem:
        """As `pprs_experiments.study.cell.Task.problem`.

        Raises:
            ValueError: for a setting out of its range, or data that cannot be read.
        """
        task, start = self.examples(seed, data_dir), self.start(seed, data_dir)
        head = drawing(seed, "head")
        network = with_new_head(start.network, task.train.classes, generator=head)
        return few_shot_problem(task, network, self.objective, self.loss)

    def halves(self, seed: int, data_dir: Path | None) -> tuple[list[int], list[int]]:
        """The classes of a seed: those that are known, and those to learn."""
        classes = source(self.data, data_dir).train.classes
        order = torch.randperm(classes, generator=drawing(seed, "classes")).tolist()
        return order[: classes // 2], order[classes // 2 :]

    def examples(self, seed: int, data_dir: Path | None) -> FewShot:
        """The images of a seed to learn from, and to measure on."""
        _, learned = self.halves(seed, data_dir)
        images = source(self.data, data_dir).only(learned)
        generator = drawing(seed, "examples")
        return few_shot(images, self.shots, self.validation, generator, test=self.test)

    def start(self, seed: int, data_dir: Path | None) -> Pretrained:
        """The network of a seed, as it knows the first half."""
        known, _ = self.halves(seed, data_dir)
        shape = Transformer(self.patch, self.width, self.heads, self.layers)
        return pretrained(
            self.data, data_dir, tuple(known), shape, self.known, self.pretraining, seed
        )


class Transformer(NamedTuple):
    """The settings of an `image_transformer`."""

    patch: int
    width: int
    heads: int
    layers: int


class Pretrained(NamedTuple):
    """A network, and its accuracy on images of its classes that it was not trained on.

    The network is shared: it must be copied before it is changed.
    """

    network: nn.Sequential
    accuracy: float


@functools.lru_cache(maxsize=128)
def pretrained(
    data: ImageName,
    data_dir: Path | None,
    classes: tuple[int, ...],
    shape: Transformer,
    known: int,
    steps: int,
    seed: int,
) -> Pretrained:
    """Train a transformer with Adam; a process does so once for the same arguments.

    All methods start from this network, tuning included.

    Args:
        data: a data set.
        data_dir: as for `read_images`.
        classes: some of its classes.
        shape: of the transformer.
        known: images of each class to train on.
        steps: on minibatches of them.
        seed: draws images, initial weights and minibatches.
    """
    counts(pretraining=steps)
    images = source(data, data_dir).only(classes)
    task = few_shot(images, known, _HELD, drawing(seed, "known examples"), test=1)
    x, y = task.train.x, task.train.y
    weights, batches = drawing(seed, "weights"), drawing(seed, "minibatches")
    channels, height, side = x.shape[1:]
    network = image_transformer((channels, height, side), *shape, len(classes), generator=weights)
    optimizer = torch.optim.Adam(network.parameters(), _LR)
    with torch.enable_grad():
        for _ in range(steps):
            index = torch.randint(len(y), (_MINIBATCH,), generator=batches)
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x[index]), y[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.zero_grad()
    return Pretrained(network, accuracy(network, task.validation))
