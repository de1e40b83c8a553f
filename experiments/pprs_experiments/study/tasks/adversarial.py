"""Adversarial training: a network on few images that an adversary changes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pprs._arguments import counts, positive
from pprs.compare.examples import Examples
from pprs.smoothing import derive_seed
from pprs_experiments.study.problem import Adversary, Batch, Measure, Problem, drawing
from pprs_experiments.study.tasks.classification import accuracy, classification
from pprs_experiments.study.tasks.few_shot import FewShotTask
from pprs_experiments.study.tasks.objective import named_objective
from pprs_experiments.study.tasks.square import square_attacked
from pprs_experiments.tasks.attacks import pgd
from pprs_experiments.tasks.few_shot import FewShot


@dataclass(frozen=True)
class AdversarialTask(FewShotTask):
    """Few-shot classification where every pixel may change a little.

    The adversary of training raises the loss of every example by projected gradient ascent (PGD)
    from a random start, whatever the objective makes of the losses. Accuracies at the end:

    - `validation`: on validation images under PGD of 10 steps;
    - `clean`: on test images as they are;
    - `pgd-20`: on some of them under PGD of 20 steps;
    - `square`: on the same under the square attack, which takes no gradients.

    These ascend the lead of the best wrong score: in single precision cross-entropy has no gradient
    left where scores are far apart, and the hinge none where they are not near.

    Args:
        epsilon: how much a pixel from 0 to 1 may change, above 0.
        steps: of the adversary of training.
        attacked: test images that are attacked, at most.
        queries: of the square attack.
    """

    epsilon: float = 0.1
    steps: int = 5
    attacked: int = 200
    queries: int = 300

    def problem(self, seed: int, data_dir: Path | None) -> Problem:
        """As `pprs_experiments.study.cell.Task.problem`.

        Raises:
            ValueError: for a setting out of its range, or data that cannot be read.
        """
        positive(epsilon=self.epsilon)
        counts(attacked=self.attacked, queries=self.queries)
        task = self.examples(seed, data_dir)
        network, classes = self.initial(task, seed), task.train.classes
        mean_loss = named_objective("mean", self.loss, classes)
        ascended = self._ascent(network, task)

        def attack(batch: Batch, generator: torch.Generator) -> Batch:
            x, y = batch
            return ascended(mean_loss, x, y, steps=self.steps, generator=generator), y

        return classification(
            task,
            network,
            named_objective(self.objective, self.loss, classes),
            divisible=self.objective == "mean",
            adversary=Adversary(attack, self.steps),
            measured=self._measured(network, task, seed),
        )

    def _ascent(self, network: nn.Module, task: FewShot) -> Callable[..., Tensor]:
        """Takes a loss, images, labels, steps and a generator."""
        radius, bounds = task.scale.radius(self.epsilon), task.scale.bounds
        return functools.partial(pgd, network, epsilon=radius, bounds=bounds)

    def _measured(self, network: nn.Module, task: FewShot, seed: int) -> dict[str, Measure]:
        ascended = self._ascent(network, task)
        attacked = task.test[torch.arange(min(self.attacked, len(task.test)))]

        def under(steps: int, examples: Examples, name: str) -> float:
            generator = drawing(seed, name)
            x = ascended(lead, examples.x, examples.y, steps=steps, generator=generator)
            return accuracy(network, Examples(x, examples.y, examples.classes))

        def square() -> float:
            drawn = derive_seed(seed, "square") % 2**32  # numpy takes no larger one
            still = square_attacked(
                network, attacked, task.scale, self.epsilon, self.queries, drawn
            )
            return still.double().mean().item()

        return {
            "validation": lambda: under(10, task.validation, "validation attack"),
            "clean": lambda: accuracy(network, task.test),
            "pgd-20": lambda: under(20, attacked, "test attack"),
            "square": square,
        }


def lead(scores: Tensor, labels: Tensor) -> Tensor:
    """How much larger the best wrong score is than the right one, mean over examples."""
    own = scores.gather(1, labels[:, None])
    others = scores.scatter(1, labels[:, None], -math.inf)
    return (others.amax(1) - own[:, 0]).mean()
