r"""First-order methods as rules: each asks for gradients, and says what its answer is.

A rule starts where its target does, with a step size for each lane, shape `(lanes, 1, 1)`.
All lanes and starts take their steps together. It is a generator: it yields what it asks for, and
receives the mean gradient there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from pprs.theory.methods import Momentum, momenta
from pprs_experiments.attack.objective import WEIGHT
from pprs_experiments.attack.proximal import prox_of_largest


@dataclass(frozen=True)
class Ask:
    """Where a rule wants a gradient.

    Args:
        point: shape `(lanes, b, d)`.
        answer: the rule's answer so far.
        scale: of the noise there, shape `(lanes, b, 1)`; 1 by default.
        smooth_part: whether the gradient is of the hinges only.
    """

    point: Tensor
    answer: Tensor
    scale: Tensor | None = None
    smooth_part: bool = False


Asking: TypeAlias = Generator[Ask, Tensor, None]


class Target(Protocol):
    """What is minimised: an attack, or another function."""

    @property
    def start(self) -> Tensor:
        """Where to start, shape `(b, d)`."""

    def losses(self, points: Tensor) -> Tensor:
        """At points of shape `(lanes, b, d)`, shape `(lanes, b)`."""

    def gradient(
        self,
        points: Tensor,
        sigma: float | Tensor,
        samples: int,
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """The mean gradient of each lane and start."""


@dataclass(frozen=True)
class Task:
    """What a rule starts from: a target, step sizes, K and the number of steps."""

    attack: Target
    lr: Tensor
    samples: int
    steps: int

    @property
    def start(self) -> Tensor:
        """The images, for each lane."""
        return self.attack.start.expand(len(self.lr), -1, -1).clone()


Rule: TypeAlias = Callable[[Task], Asking]


def nesterov(momentum: Momentum) -> Rule:
    r"""$y_{t+1} = x_t - \eta G_t$, $x_{t+1} = y_{t+1} + \mu_t (y_{t+1} - y_t)$; with 0, GD."""

    def rule(task: Task) -> Asking:
        x = y = task.start
        for mu in momenta(momentum):
            gradient = yield Ask(x, y)
            following = x - task.lr * gradient
            x, y = following + mu * (following - y), following

    return rule


def subgradient(task: Task) -> Asking:
    r"""$x_{t+1} = x_t - \eta g_t / \sqrt{t + 1}$."""
    x, taken = task.start, 0
    while True:
        gradient, taken = (yield Ask(x, x)), taken + 1
        x = x - task.lr / math.sqrt(taken) * gradient


def sign(task: Task) -> Asking:
    r"""$x_{t+1} = x_t - \eta\, \mathrm{sign}\, g_t$."""
    x = task.start
    while True:
        x = x - task.lr * (yield Ask(x, x)).sign()


def adam(*, falling: bool = False) -> Rule:
    """Adam (Kingma and Ba, 2015); falling: with a step size that falls linearly to 0."""

    def rule(task: Task) -> Asking:
        x, taken = task.start, 0
        mean, square = torch.zeros_like(x), torch.zeros_like(x)
        while True:
            gradient, taken = (yield Ask(x, x)), taken + 1
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            root = (square / (1 - 0.999**taken)).sqrt() + 1e-8
            left = 1 - (taken - 1) / task.steps if falling else 1.0
            x = x - left * task.lr * (mean / (1 - 0.9**taken)) / root

    return rule


def proximal(task: Task) -> Asking:
    r"""A step down the hinges, then $\mathrm{prox}_{\eta \lambda \|\cdot - x\|_\infty}$."""
    x = start = task.start
    while True:
        moved = x - task.lr * (yield Ask(x, x, smooth_part=True))
        x = start + prox_of_largest(moved - start, task.lr * WEIGHT)


def duchi(task: Task) -> Asking:
    r"""The method of Duchi et al. (2012), as `pprs.theory.RandomizedSmoothing` has it.

    L is estimated by the norm of the mean gradient at 16 perturbations of each image by a grey
    level, R by the distance at which a loss that falls so steeply is 0, times the lane's factor,
    which takes the place of a step size. The noise falls with the method's $\theta_t$.
    """
    start, attack = task.start, task.attack
    fresh = [torch.Generator().manual_seed(b) for b in range(start.shape[1])]
    steepness = attack.gradient(start[:1], 1 / 255, 16, fresh).norm(dim=-1, keepdim=True)
    lipschitz = steepness.expand(len(task.lr), -1, -1)
    radius = task.lr * attack.losses(start)[..., None] / lipschitz
    unit = radius * start.shape[-1] ** -0.25
    answer = mirror = start
    total, theta, taken = torch.zeros_like(start), 1.0, 0
    while True:
        point = (1 - theta) * answer + theta * mirror
        total = total + (yield Ask(point, answer, unit * theta)) / theta
        following, taken = 2 / (1 + math.sqrt(1 + 4 / theta**2)), taken + 1
        eta = lipschitz * math.sqrt((taken + 1) / task.samples) / radius
        mirror = start - total / (lipschitz / (unit * following) + eta / following)
        answer = (1 - theta) * answer + theta * mirror
        theta = following
