"""What `batched=True` saves against a loop over the starts: a program of a minute.

`python -m benchmarks.minimize.batched` prints the table of the README. Both do the same steps, in
one process, one after the other, on one thread; times are the processor's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import pprs

ROUNDS = 2


@dataclass(frozen=True)
class Task:
    """A function, the starts, and what belongs to each."""

    name: str
    fun: Callable[..., Tensor]
    x0: Tensor
    args: tuple[Tensor, ...]


def distances(starts: int) -> Task:
    """The largest distance to 10 numbers: cheaper than anything around it."""
    goals = torch.randn(starts, 10, generator=torch.Generator().manual_seed(0))
    return Task(
        "l∞ distance, d = 10",
        lambda x, goal: (x - goal).abs().max(),
        torch.zeros(starts, 10),
        (goals,),
    )


def attacks(starts: int) -> Task:
    """Targeted attacks on images, by a hinge loss of a convolutional net with random weights."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    ).requires_grad_(False)  # fmt: skip
    images = torch.rand(starts, 3, 32, 32)
    targets = torch.arange(starts) % 10

    def fun(x: Tensor, image: Tensor, target: Tensor) -> Tensor:
        logits = net(x[None])[0]
        wanted = logits.gather(0, target[None])
        hinge: Tensor = (1 - wanted + logits).relu().sum() - 1
        return hinge + (x - image).abs().max()

    return Task("attack on an image, d = 3,072", fun, images, (images, targets))


def seconds(work: Callable[[], object]) -> float:
    """How long the processor works."""
    before = time.process_time()
    work()
    return time.process_time() - before


def ratios(task: Task, **given: Any) -> Iterator[tuple[float, float]]:
    """Times of the batch and of the loop."""
    alone = [(task.x0[b], tuple(arg[b] for arg in task.args)) for b in range(len(task.x0))]
    for _ in range(ROUNDS):
        yield (
            seconds(lambda: pprs.minimize(task.fun, task.x0, task.args, batched=True, **given)),
            seconds(lambda: [pprs.minimize(task.fun, x0, args, **given) for x0, args in alone]),
        )


def main() -> None:
    torch.set_num_threads(1)
    print("| function | starts | K | batched, s | loop, s | loop / batched |")
    print("|---|---|---|---|---|---|")
    for build, starts, depth in (
        (distances, 20, 20), (distances, 100, 20), (attacks, 20, 20), (attacks, 20, 128),
    ):  # fmt: skip
        task = build(starts)
        given = {"depth": depth, "steps": 15, "seed": 0}
        pprs.minimize(task.fun, task.x0, task.args, batched=True, depth=2, steps=2)  # warms up
        rounds = list(ratios(task, **given))
        batched, loop = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratio = statistics.median(b / a for a, b in rounds)
        cells = [task.name, f"{starts:,}", str(depth // 2), f"{batched:.2f}", f"{loop:.2f}"]
        print(f"| {' | '.join(cells)} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
