"""What the measured rule costs beside its passes, at d = 10⁵: a program of a minute.

`python -m benchmarks.minimize.overhead` prints the table of the README. Inside one run it takes the
processor's time that `fun` needs, forward and backward, and that of the whole step.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import pprs

SIDE = 183  # of an image; 3 * 183 * 183 is just above 10⁵
DEPTH, STEPS = 128, 5  # K = 64


@dataclass
class Clock:
    """Processor time within passes: of the K + 1 points of a step, and of its answer's value."""

    points: float = 0.0
    answers: float = 0.0
    ends: list[tuple[float, float, float]] = field(default_factory=list)

    def timed(self, work: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Work, timed."""
        before = time.process_time()
        found = work(*args, **given)
        taken = time.process_time() - before
        if isinstance(found, Tensor) and len(found) == 1:
            self.answers += taken
        else:
            self.points += taken
        return found

    def step(self, *_: object) -> None:
        """For the end of a step."""
        self.ends.append((time.process_time(), self.points, self.answers))

    def steps(self) -> Iterator[tuple[float, float, float]]:
        """Of each but the first: the whole time, that of its passes, that of its answer's value."""
        for before, after in zip(self.ends, self.ends[1:], strict=False):
            yield tuple(b - a for a, b in zip(before, after, strict=True))  # type: ignore[misc]


@contextmanager
def watched() -> Iterator[Clock]:
    """Time all that runs under vmap, and all gradients."""
    clock, vmap, grad = Clock(), torch.vmap, torch.autograd.grad

    def timed_vmap(function: Callable[..., Any], *args: Any, **given: Any) -> Callable[..., Any]:
        inner = vmap(function, *args, **given)
        return lambda *points: clock.timed(inner, *points)

    def timed_grad(*args: Any, **given: Any) -> Any:
        return clock.timed(grad, *args, **given)

    with patch.object(torch, "vmap", timed_vmap), patch.object(torch.autograd, "grad", timed_grad):
        yield clock


def distance() -> tuple[Callable[[Tensor], Tensor], Tensor]:
    goal = torch.randn(100_000)
    return lambda x: (x - goal).abs().max(), torch.zeros(100_000)


def maximum() -> tuple[Callable[[Tensor], Tensor], Tensor]:
    a = torch.randn(200, 100_000) / math.sqrt(100_000)
    return lambda x: (a @ x).max(), torch.ones(100_000)


def network() -> tuple[Callable[[Any], Tensor], dict[str, Tensor]]:
    model = nn.Sequential(nn.Linear(784, 126), nn.ReLU(), nn.Linear(126, 10))
    images, labels = torch.randn(256, 784), torch.arange(256) % 10

    def fun(x: dict[str, Tensor]) -> Tensor:
        logits = torch.func.functional_call(model, x, (images,))
        return nn.functional.cross_entropy(logits, labels, reduction="none").max()

    return fun, {name: p.detach().clone() for name, p in model.named_parameters()}


def attack() -> tuple[Callable[[Tensor], Tensor], Tensor]:
    net = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(128, 128, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(2048, 10),
    ).requires_grad_(False)  # fmt: skip
    image = torch.rand(3, SIDE, SIDE)

    def fun(x: Tensor) -> Tensor:
        logits = net(x[None])[0]
        hinge: Tensor = (1 - logits[0] + logits[1:]).relu().sum()
        return hinge + (x - image).abs().max()

    return fun, image


FUNCTIONS: dict[str, Callable[[], tuple[Callable[[Any], Tensor], Any]]] = {
    "l∞ distance": distance,
    "maximum of 200 linear functions": maximum,
    "largest loss of a net with two layers, 256 examples": network,
    "attack on an image of 183 × 183, four convolutions": attack,
}


def main() -> None:
    torch.set_num_threads(1)
    print("| function, K = 64 | a step, ms | its passes | value of its answer | the rest | bar |")
    print("|---|---|---|---|---|---|")
    for name, build in FUNCTIONS.items():
        if not all(word in name for word in sys.argv[1:]):
            continue
        torch.manual_seed(0)
        fun, x0 = build()
        with watched() as clock:
            pprs.minimize(fun, x0, depth=DEPTH, steps=STEPS + 1, seed=0, callback=clock.step)
        whole, points, answers = (
            statistics.median(times) for times in zip(*clock.steps(), strict=True)
        )
        rest = whole - points - answers
        shares = [f"{part / whole:.1%}" for part in (points, answers, rest)]
        cells = [name, f"{1000 * whole:,.0f}", *shares, "yes" if rest <= 0.05 * whole else "no"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
