"""First-order methods with one gradient a step, at many step sizes at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from pprs_experiments.attack.rules import Ask, Asking, Rule, Task


@dataclass(frozen=True)
class Vectors:
    """A function of one vector, as rules see it.

    Args:
        fun: of x, shape `(d,)`.
        first: where to start, shape `(d,)`.
    """

    fun: Callable[[Tensor], Tensor]
    first: Tensor

    @property
    def start(self) -> Tensor:
        """Where to start, shape `(1, d)`."""
        return self.first[None]

    def losses(self, points: Tensor) -> Tensor:
        """At points of shape `(lanes, 1, d)`; infinite where they are not finite."""
        return vmap(self.fun)(points[:, 0])[:, None].nan_to_num(nan=math.inf, posinf=math.inf)

    def gradient(
        self,
        points: Tensor,
        sigma: float | Tensor = 0.0,
        samples: int = 1,
        generators: Sequence[torch.Generator] = (),
    ) -> Tensor:
        """The gradient of each lane, without any noise."""
        if sigma or samples != 1:
            raise ValueError("these methods take one gradient a step, without noise")
        gradients: Tensor = vmap(grad_and_value(self.fun))(points[:, 0])[0]
        return gradients[:, None]


def polyak(minimum: float) -> Rule:
    r"""Steps of $(f(x_t) - f^*) / \|g_t\|^2$, which know the minimum."""

    def rule(task: Task) -> Asking:
        x = task.start
        while True:
            gradient = yield Ask(x, x)
            above = (task.attack.losses(x) - minimum)[..., None]
            x = x - above / gradient.square().sum(-1, keepdim=True) * gradient

    return rule


@dataclass
class Lanes:
    """A rule at several step sizes, and after how many steps each was first at each goal.

    Args:
        asking: of the rule.
        ask: what it wants now.
        steps: a row for each lane, `None` where a goal was not reached.
    """

    asking: Asking
    ask: Ask
    steps: list[list[int | None]]

    @property
    def decided(self) -> bool:
        """Whether the best lane is known for every goal: all take as long for a step."""
        return all(any(n is not None for n in at_goal) for at_goal in zip(*self.steps, strict=True))

    def note(self, step: int, losses: Sequence[float], goals: Sequence[float]) -> None:
        """Note which goals are reached."""
        for lane, loss in zip(self.steps, losses, strict=True):
            for place, goal in enumerate(goals):
                if loss <= goal and lane[place] is None:
                    lane[place] = step


def first_steps(
    target: Vectors,
    rules: Mapping[str, tuple[Rule, Sequence[float]]],
    goals: Sequence[float],
    most: int,
) -> dict[str, list[list[int | None]]]:
    """After how many steps each rule is first at each goal, with each step size.

    Args:
        target: what is minimised.
        rules: with their step sizes, by name.
        goals: values of the function.
        most: steps. A rule stops as soon as its best step size is known for every goal.
    """
    found = {}
    for name, (rule, lrs) in rules.items():
        lr = torch.tensor(lrs, dtype=target.first.dtype)[:, None, None]
        asking = rule(Task(target, lr, 1, most))
        found[name] = Lanes(asking, next(asking), [[None] * len(goals) for _ in lrs])
    for step in range(1, most + 1):
        going = [lanes for lanes in found.values() if not lanes.decided]
        if not going:
            break
        sizes = [len(lanes.steps) for lanes in going]
        gradients = target.gradient(torch.cat([lanes.ask.point for lanes in going]))
        for lanes, gradient in zip(going, torch.split(gradients, sizes), strict=True):
            lanes.ask = lanes.asking.send(gradient)
        losses = target.losses(torch.cat([lanes.ask.answer for lanes in going]))[:, 0]
        for lanes, values in zip(going, torch.split(losses, sizes), strict=True):
            lanes.note(step, values.tolist(), goals)
    return {name: lanes.steps for name, lanes in found.items()}
