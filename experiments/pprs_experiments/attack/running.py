"""A rule at work on several images, step sizes and draws at once, on the pipeline's clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pprs_experiments.attack.objective import Attack
from pprs_experiments.attack.rules import Rule, Task

PLAIN_STEPS = 300
"""The budget of all methods: the pipeline time of so many steps with one gradient."""
POINTS = 20
"""How often a loss is noted on the way."""


def step_time(samples: int, depth: int) -> int:
    r"""Pipeline time of a step: $2(K + \Delta - 1)$."""
    return 2 * (samples + depth - 1)


def steps_for(samples: int, depth: int, plain_steps: int = PLAIN_STEPS) -> int:
    """How many steps of K gradients take no more time than the plain ones."""
    return plain_steps * step_time(1, depth) // step_time(samples, depth)


def marks(steps: int) -> list[int]:
    """After which steps the loss is noted: at the same parts of the budget for all methods."""
    return [steps * point // POINTS for point in range(1, POINTS + 1)]


@dataclass(frozen=True)
class Outcome:
    """What was reached for each lane and image.

    Args:
        curve: losses at `marks`, shape `(lanes, b, POINTS)`.
        distance: $\\|\\tilde x - x\\|_\\infty$ at the end, shape `(lanes, b)`.
        taken: whether the answer is taken for the target, shape `(lanes, b)`.
        queries: gradients of each image.
        time: pipeline time.
    """

    curve: Tensor
    distance: Tensor
    taken: Tensor
    queries: int
    time: float

    @classmethod
    def of(cls, attack: Attack, curve: Tensor, last: Tensor, queries: int, time: float) -> Outcome:
        """With what the last answers, shape `(lanes, b, d)`, are."""
        distance = (last - attack.start).abs().amax(-1)
        return cls(curve, distance, attack.taken(last), queries, time)


def run(
    attack: Attack,
    rule: Rule,
    lrs: Sequence[float],
    samples: int,
    sigma: float,
    annealed: bool,
    depth: int,
    plain_steps: int,
    seeds: Sequence[int],
) -> Outcome:
    r"""Take the steps that the budget allows.

    Args:
        attack: the images.
        rule: of the steps.
        lrs: a lane for each.
        samples: number K of perturbations.
        sigma: of the noise.
        annealed: whether it falls, as $\sigma / \sqrt{t + 1}$.
        depth: $\Delta$.
        plain_steps: the budget.
        seeds: of each image's noise, which is the same for all lanes.
    """
    steps = steps_for(samples, depth, plain_steps)
    lr = torch.tensor(lrs)[:, None, None]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    asking = rule(Task(attack, lr, samples, steps))
    ask, noted = next(asking), {0: attack.losses(attack.start.expand(len(lrs), -1, -1))}
    for step in range(1, steps + 1):
        scale = sigma / math.sqrt(step) if annealed else sigma
        gradient = attack.gradient(
            ask.point,
            scale if ask.scale is None else ask.scale,
            samples,
            generators,
            smooth_part=ask.smooth_part,
        )
        ask = asking.send(gradient)
        if step in marks(steps):
            noted[step] = attack.losses(ask.answer)
    curve = torch.stack([noted[step] for step in marks(steps)], -1)
    spent = steps * step_time(samples, depth)
    return Outcome.of(attack, curve, ask.answer, steps * samples, spent)
