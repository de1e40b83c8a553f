"""Stages that take a given time, and what is timed side by side on all ranks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gradient.cases import mlp

Way: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """A few-shot step: a small batch, and perturbations of it that fill a pipeline.

    Args:
        width: of every layer.
        layers: of a stage.
        batch: examples m.
        samples: perturbations K.
        microbatches: pieces M that travel through the pipeline.
    """

    width: int
    layers: int = 2
    batch: int = 8
    samples: int = 32
    microbatches: int = 16

    @property
    def rows(self) -> int:
        """What a microbatch carries: examples, times perturbations."""
        return self.batch * self.samples // self.microbatches

    def __str__(self) -> str:
        return (
            f"{self.layers} linear maps of width {self.width}, {self.batch} examples; "
            f"K {self.samples}, M {self.microbatches}"
        )

    def network(self, stages: int) -> nn.Sequential:
        """A ReLU network that can be cut into equal stages; the same on all ranks."""
        torch.manual_seed(0)
        return mlp(*[self.width] * (self.layers * stages + 1))

    def data(self, examples: int | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and classes, a batch by default."""
        generator = torch.Generator().manual_seed(1)
        count = examples or self.batch
        x = torch.randn(count, self.width, generator=generator)
        return x, torch.arange(count) % self.width


def suitable_width(size: Size, milliseconds: float, rounds: int = 4) -> int:
    """How wide the layers must be for a stage to take so long for a microbatch without noise.

    Args:
        size: all but the width.
        milliseconds: forward and backward, of a stage in the middle.
        rounds: how often the estimate is corrected; the time is about quadratic in the width.

    Returns:
        A multiple of 64.
    """
    width = 512
    for _ in range(rounds):
        spent = 1e3 * _stage_time(replace(size, width=width))
        width = 64 * max(1, round(width * (milliseconds / spent) ** 0.5 / 64))
    return width


def _stage_time(size: Size, repeats: int = 9) -> float:
    stage = nn.Sequential(*size.network(1), nn.ReLU())
    x, _ = size.data(size.rows)
    x.requires_grad_()

    def run() -> None:
        stage(x).sum().backward()

    times = [clocked(run) for _ in range(repeats)]
    return statistics.median(times[2:])  # the first ones warm up


def ideal_time(microbatches: int, passes: Sequence[tuple[float, float]]) -> float:
    r"""The time of a step if all stages were as slow as the slowest, and only they took time.

    $(M + \Delta - 1)(F + B)$, which GPipe and 1F1B reach.

    Args:
        microbatches: M.
        passes: seconds of a forward F and a backward B of each of the stages.

    Example:
        >>> ideal_time(16, [(1.0, 2.0), (2.0, 1.5)])
        59.5
    """
    return (microbatches + len(passes) - 1) * max(map(sum, passes))


def interleaved(ways: Mapping[str, Way], repeats: int) -> dict[str, float]:
    """Median seconds of each way, all run once in each repeat; a collective call.

    A way takes as long as it does on the slowest rank, from when all begin.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(-1, repeats):  # the first one warms up
        for name, way in ways.items():
            dist.barrier()
            spent = torch.tensor(clocked(way), dtype=torch.float64)
            dist.all_reduce(spent, dist.ReduceOp.MAX)
            if repeat >= 0:
                times[name].append(spent.item())
    return {name: statistics.median(spent) for name, spent in times.items()}


def clocked(way: Way) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(outputs, targets)
