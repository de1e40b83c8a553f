"""Choose each method's step size on held-out training images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.distributed as dist

from pprs.compare.config import CompareConfig, MethodName
from pprs.compare.examples import Examples
from pprs.compare.methods import METHODS
from pprs.compare.run import Point, TrainingRun, examples
from pprs.smoothing import derive_seed


@dataclass(frozen=True)
class Trial:
    """A run of the search, and what it reached on the held-out images."""

    run: TrainingRun
    point: Point


@dataclass(frozen=True)
class ChosenStepSize:
    """The step size chosen for a method, and the mean held-out accuracy of every one tried."""

    lr: float
    accuracy: Mapping[float, float]


def candidates(config: CompareConfig) -> list[TrainingRun]:
    """The runs of the search; none for a method with a single step size."""
    return [
        TrainingRun(config, method, lr, seed)
        for method in config.methods
        for seed in range(config.seeds)
        for lr in grid(config, method)
        if len(grid(config, method)) > 1
    ]


def grid(config: CompareConfig, method: MethodName) -> tuple[float, ...]:
    """The step sizes that are tried for a method."""
    return config.lr or METHODS[method].lr


def try_candidates(runs: Sequence[TrainingRun], group: dist.ProcessGroup) -> Iterator[Trial]:
    """Train each candidate in this process alone.

    The candidates do not depend on each other, so the processes share them out instead of running
    each one together.

    Args:
        runs: this process's share.
        group: a group of this process only.
    """
    for run in runs:
        train, holdout = hold_out(run.config, run.seed)
        *_, last = run.execute(train, holdout, group)
        assert last is not None  # the only stage is the last
        yield Trial(run, last)


def hold_out(config: CompareConfig, seed: int) -> tuple[Examples, Examples]:
    """Split a seed's training images: two fifths of each class, at least one, are held out."""
    train, _ = examples(config, seed)
    generator = torch.Generator().manual_seed(derive_seed(config.seed, seed, "held out"))
    return train.split(config.shots - max(1, config.shots * 2 // 5), generator)


def choose(config: CompareConfig, trials: Sequence[Trial]) -> dict[MethodName, ChosenStepSize]:
    """For each method the step size of the highest mean held-out accuracy.

    Step sizes with a loss that is not finite are out; of equals, the one with the lower mean
    held-out loss is taken.

    Raises:
        RuntimeError: if every step size of a method diverged.
    """
    return {method: _choose(config, method, trials) for method in config.methods}


def _choose(config: CompareConfig, method: MethodName, trials: Sequence[Trial]) -> ChosenStepSize:
    tried = grid(config, method)
    if len(tried) == 1:
        return ChosenStepSize(tried[0], {})
    points = {
        lr: [t.point for t in trials if (t.run.method, t.run.lr) == (method, lr)] for lr in tried
    }
    accuracy = {lr: fmean([p.accuracy for p in of_lr]) for lr, of_lr in points.items()}
    loss = {lr: fmean([p.loss for p in of_lr]) for lr, of_lr in points.items()}
    converged = [lr for lr in tried if math.isfinite(loss[lr])]
    if not converged:
        raise RuntimeError(
            f"{METHODS[method].label} diverged with every step size tried "
            f"({', '.join(map(str, tried))}): give smaller ones with lr"
        )
    return ChosenStepSize(max(converged, key=lambda lr: (accuracy[lr], -loss[lr])), accuracy)
