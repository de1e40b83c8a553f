"""What the library offers where nothing is tuned: `pprs.minimize`, and `pprs.SearchedStep`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

import pprs
from pprs.smoothing import DEFAULT_SIGMA
from pprs.theory.bias import BiasGoal
from pprs.theory.measured import samples_for
from pprs_experiments.attack.objective import Attack, objective
from pprs_experiments.attack.running import POINTS, Outcome, marks, step_time

UNIT = 6
"""Pairs of perturbations for three candidates."""

Untuned: TypeAlias = Callable[[Attack, int, int, Sequence[int]], Outcome]
"""From an attack, the depth, the budget in plain steps, and a seed of each image."""


def auto(attack: Attack, depth: int, plain_steps: int, seeds: Sequence[int]) -> Outcome:
    """`pprs.minimize` with its own method, told that the loss is never below 0."""
    budget = plain_steps * step_time(1, depth)
    last = [attack.originals]

    def loss(image: Tensor, original: Tensor) -> Tensor:
        return objective(attack.model, image[None], original[None], attack.target)[0]

    def keep(images: Any, _: object) -> None:
        last[0] = images  # all methods are judged by their last answer; `x` is the best

    found = pprs.minimize(
        loss,
        attack.originals,
        (attack.originals,),
        batched=True,
        depth=depth,
        lower=0.0,
        time=budget,
        seed=seeds,
        callback=keep,
    )
    first = attack.losses(attack.start[None])[0].tolist()
    curves = [_by_time(*each, budget) for each in zip(first, found.history, strict=True)]
    spent = int(found.ngrad[0]), float(found.time[0])
    return Outcome.of(attack, torch.tensor([curves]), last[0].flatten(1)[None], *spent)


def _by_time(first: float, history: Sequence[Any], budget: int) -> list[float]:
    """The loss at each part of the budget: of the last step that had ended by then."""
    return [
        next((step.loss for step in reversed(history) if step.time <= time), first)
        for time in (budget * point / POINTS for point in range(1, POINTS + 1))
    ]


def searched(noise: Callable[[Attack], Noise]) -> Untuned:
    """`pprs.SearchedStep` before Adam, one image after the other.

    Args:
        noise: of the attack on one image.
    """

    def attacked(attack: Attack, depth: int, plain_steps: int, seeds: Sequence[int]) -> Outcome:
        found = [
            _search(
                Attack(attack.model, original[None], attack.target), noise, depth, plain_steps, seed
            )
            for original, seed in zip(attack.originals, seeds, strict=True)
        ]
        curves, last, spent = zip(*found, strict=True)
        return Outcome.of(attack, torch.tensor([curves]), torch.cat(last, 1), *spent[0])

    return attacked


def _search(
    attack: Attack, kind: Callable[[Attack], Noise], depth: int, plain_steps: int, seed: int
) -> tuple[list[float], Tensor, tuple[int, float]]:
    """The curve of one image, the last point, and how many gradients and how much time it took."""
    module, noise = Image(attack.originals[0]), kind(attack)
    samples = UNIT * max(1, samples_for(depth) // UNIT)
    passes = samples + noise.passes
    left = plain_steps * step_time(1, depth) - noise.begun * step_time(1, depth)
    steps = left // step_time(passes, depth)
    search = pprs.SearchedStep(
        torch.optim.Adam(module.parameters()),
        module,
        perturbation=noise.averaged(samples),
        seed=seed,
    )
    noted = {0: float(attack.losses(attack.start[None]))}
    for step in range(1, steps + 1):
        smoothed = float(search.step(module.loss(attack)))
        if noise.passes or step in marks(steps):
            noted[step] = float(attack.losses(module.flat()))
        noise.follow(noted.get(step, smoothed), smoothed)
    queries = noise.begun + steps * passes
    spent = noise.begun * step_time(1, depth) + steps * step_time(passes, depth)
    return [noted[step] for step in marks(steps)], module.flat(), (queries, spent)


class Noise:
    """What a searched step averages: by default 0.01 of the norm of each channel.

    Attributes:
        passes: that it takes of each step to itself.
        begun: gradients that it takes before the first.
    """

    passes, begun = 0, 0

    def __init__(self, attack: Attack) -> None:
        del attack

    def averaged(self, samples: int) -> pprs.Perturbation:
        """The perturbation of so many samples."""
        return pprs.Perturbation.filter(DEFAULT_SIGMA, samples, antithetic=True)

    def follow(self, loss: float, smoothed: float) -> None:
        """Learn from the losses of a step."""


class GreyLevel(Noise):
    r"""A grey level, the least change of a pixel in a file, falling as $1 / \sqrt{t + 1}$."""

    def averaged(self, samples: int) -> pprs.Perturbation:
        """The perturbation of so many samples."""
        return pprs.Perturbation(
            lambda step: 1 / 255 / math.sqrt(step + 1), samples, antithetic=True
        )


class Measured(Noise):
    r"""Sigma that follows the measured bias, by the rule of `pprs.minimize` where nothing is known.

    It begins with $d^{-1/4}$ of the distance at which a loss as steep as at the start is 0.
    """

    passes, begun = 1, 1

    def __init__(self, attack: Attack) -> None:
        start = attack.start[None]
        steepness = attack.gradient(start, 0.0, 1, []).norm()
        self.begin(float(attack.losses(start)), float(steepness), start.shape[-1])

    def begin(self, loss: float, steepness: float, dimension: int) -> None:
        """Start with what the first loss and gradient say."""
        self.sigma = loss / steepness * dimension**-0.25
        self._goal = BiasGoal(None, None, searching=True)

    def averaged(self, samples: int) -> pprs.Perturbation:
        """The perturbation of so many samples."""
        return pprs.Perturbation(lambda _: self.sigma, samples, antithetic=True)

    def follow(self, loss: float, smoothed: float) -> None:
        """Change sigma by what brings the bias to its goal, by 0.85 to 1.25 a step."""
        bias = smoothed - loss
        goal = float(self._goal.at(np.array(loss), np.array(bias)))
        self.sigma *= min(max(goal / bias, 0.85), 1.25) if bias > 0 else 1.25


class Image(nn.Module):
    """An image as the one parameter of a module."""

    def __init__(self, original: Tensor) -> None:
        super().__init__()
        self.pixels = nn.Parameter(original.clone(memory_format=torch.contiguous_format))

    def forward(self) -> Tensor:
        """The image."""
        return self.pixels

    def loss(self, attack: Attack) -> Callable[[], Tensor]:
        """The objective of an attack on this image only."""
        return lambda: objective(attack.model, self()[None], attack.originals, attack.target)[0]

    def flat(self) -> Tensor:
        """As a point of an attack, shape `(1, 1, d)`."""
        return self.pixels.detach().flatten()[None, None].clone()
