"""A run of fine-tuning, and what does without it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pprs.compare.examples import Examples
from pprs.smoothing import derive_seed
from pprs_experiments.omniglot.network import features
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.problem import Problem, drawing
from pprs_experiments.study.run import Budget, Outcome, run
from pprs_experiments.study.tasks.classification import classification
from pprs_experiments.study.tuning import tune
from pprs_experiments.tasks.few_shot import FewShot
from pprs_experiments.tasks.images.omniglot import Background, OneShot
from pprs_experiments.tasks.images.pixels import PixelScale
from pprs_experiments.tasks.networks import with_new_head

STEPS = 100
"""The budget: the pipeline time of so many plain gradients."""


def episode(data: Background, seed: int) -> OneShot:
    """As the official runs: twenty characters of an alphabet, by one person and by another."""
    generator = drawing(seed, "episode")

    def chosen(values: list[Any], number: int) -> list[Any]:
        order = torch.randperm(len(values), generator=generator)[:number]
        return [values[i] for i in order.tolist()]

    def characters(name: str) -> list[int]:
        return sorted(
            {int(c) for c, a in zip(data.characters, data.alphabets, strict=True) if a == name}
        )

    (name,) = chosen([name for name in data.names if len(characters(name)) >= 20], 1)
    learned = chosen(characters(name), 20)
    people = chosen(sorted(set(data.people.tolist())), 2)
    train, test = (
        torch.cat(
            [data.images[(data.characters == c) & (data.people == person)][:1] for c in learned]
        )
        for person in people
    )
    return OneShot(train, test, torch.arange(20))


def problem(model: nn.Sequential, task: OneShot, seed: int) -> Problem:
    """Fine-tune all of a network, with a new head; the seed draws the head."""
    fresh = with_new_head(model, len(task.train), generator=drawing(seed, "head"))
    learned = Examples(task.train, torch.arange(len(task.train)), len(task.train))
    tested = Examples(task.test, task.answers, len(task.train))
    examples = FewShot(learned, tested, tested, PixelScale.of(task.train))
    return classification(examples, fresh, F.cross_entropy)


def tuned(
    model: nn.Sequential, data: Background, method: str, trials: int, episodes: int
) -> tuple[dict[str, Any], float]:
    """The best settings of a method, and its accuracy, over episodes; the same for all methods.

    Args:
        model: that has not seen the alphabets.
        data: of these alphabets.
        method: its name.
        trials: how many settings are tried.
        episodes: on how many each is.
    """
    tasks = [episode(data, derive_seed(0, "tuning", number)) for number in range(episodes)]

    def score(settings: Mapping[str, Any]) -> float:
        return fmean(
            fine_tuned(model, task, method, settings, number).last.metrics["test"]
            for number, task in enumerate(tasks)
        )

    if not METHODS[method].space:
        return {}, score({})
    return tune("higher", METHODS[method].space, score, trials, derive_seed(0, "trials"))


def fine_tuned(
    model: nn.Sequential, task: OneShot, method: str, settings: Mapping[str, Any], number: int
) -> Outcome:
    """How a run went; its number draws the head, and what the method draws."""
    seed = derive_seed(0, "run", number)

    def factory(drawn: int) -> Problem:
        return problem(copy.deepcopy(model), task, drawn)

    budget = Budget(time=STEPS * factory(seed).price().time)
    return run(factory, METHODS[method], settings, seed, budget, 1, final=("test",))


def nearest_points(task: OneShot) -> float:
    """The accuracy of the nearest image by the modified Hausdorff distance of their ink.

    The larger of the mean distances from the ink of one to that of the other, both centred
    (Dubuisson and Jain, 1994): the baseline of Omniglot's repository, for images as its files
    have them.
    """

    def points(images: Tensor) -> list[Tensor]:
        places = [torch.nonzero(image[0] > 0.5).float() for image in images]
        return [each - each.mean(0) for each in places]

    def distance(a: Tensor, b: Tensor) -> float:
        between = torch.cdist(a, b)
        return max(float(between.amin(dim).mean()) for dim in (0, 1))

    known = points(task.train)
    found = [
        min(range(len(known)), key=lambda c: distance(known[c], asked))
        for asked in points(task.test)
    ]
    return float((torch.tensor(found) == task.answers).double().mean())


def nearest(task: OneShot, model: nn.Sequential | None = None) -> float:
    """The accuracy of the nearest image, by pixels, or by the angle of a network's features.

    With one image a class these are the prototypes, too.
    """
    known, asked = (
        images.flatten(1) if model is None else F.normalize(features(model, images))
        for images in (task.train, task.test)
    )
    found = torch.cdist(asked, known).argmin(1)
    return float((found == task.answers).double().mean())
