"""Rivals with the best of their settings, in hindsight: a grid that is widened past its best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import pprs
from benchmarks.minimize.problems import Problem
from pprs.theory import pipeline_time
from pprs.theory.bounds import pprs_convex

DEPTHS = (10, 1000)
Steps = dict[float, list[float]]
"""Of each setting that was tried, the steps to the precision with each seed, or infinity."""


@dataclass(frozen=True)
class Rival:
    """A method with one setting to tune.

    Args:
        settings: tried first, likely ones before others, so that runs of others end soon.
        factor: by which the grid is widened.
        given: what `pprs.minimize` gets for a setting of a problem.
        most: steps of a run.
        least: setting below which there is none.
        seeds: how many, of which the first chooses the setting and the median counts.
    """

    settings: Sequence[float]
    factor: float
    given: Callable[[Problem, float], dict[str, Any]]
    most: int
    least: float = 0.0
    seeds: int = 1


def _duchi(problem: Problem, samples: float) -> dict[str, Any]:
    return {"samples": int(samples), "lipschitz": 1.0, "radius": 1.0}


def _agd(problem: Problem, factor: float) -> dict[str, Any]:
    constants = {"epsilon": problem.epsilon, "lipschitz": 1.0, "radius": 1.0}
    lr = pprs_convex(**constants, dimension=problem.dimension, depth=1).lr
    assert lr is not None  # only lower bounds lack it
    return {"lr": factor * lr}


RIVALS = {  # K; times the published step size γ/L
    "duchi": Rival((16, 64, 4, 256, 1), 4, _duchi, 4000, least=1, seeds=3),
    "agd": Rival([2.0**n for n in (3, 4, 2, 5, 1, 6, 0, 7, 8, 9, 10, 11, 12)], 2, _agd, 6000),
}


def tuned(problem: Problem, method: str) -> Steps:
    """The steps of every setting, of which the best at each depth is at no end that can move."""
    rival, found = RIVALS[method], Steps()
    settings = list(rival.settings)
    while settings:
        for setting in settings:
            found[setting] = [_steps(problem, method, setting, 0, _useful(method, found, setting))]
        settings = widened(method, found)
    for setting in {best_setting(found, depth, method) for depth in DEPTHS}:
        for seed in range(1, rival.seeds):
            found[setting].append(_steps(problem, method, setting, seed, rival.most))
    return dict(sorted(found.items()))


def widened(method: str, found: Mapping[float, Sequence[float]]) -> list[float]:
    """Settings beyond the ends at which the best at some depth is: two, in case of a bump."""
    rival, more = RIVALS[method], set()
    for depth in DEPTHS:
        best = best_setting(found, depth, method)
        if best == max(found):
            more |= {best * rival.factor, best * rival.factor**2}
        if best == min(found) > rival.least:
            more |= {best / rival.factor, best / rival.factor**2}
    return sorted(setting for setting in more if setting >= rival.least)


def best_setting(found: Mapping[float, Sequence[float]], depth: int, method: str) -> float:
    """The best with the first seed; of equal ones the middle, which has worse around it."""
    times = {setting: steps[0] * _step(setting, depth, method) for setting, steps in found.items()}
    equal = sorted(setting for setting in times if times[setting] == min(times.values()))
    return equal[len(equal) // 2]


def best_time(found: Mapping[float, Sequence[float]], depth: int, method: str) -> float:
    """The median time over the seeds, with the best setting."""
    setting = best_setting(found, depth, method)
    return statistics.median(found[setting]) * _step(setting, depth, method)


def _step(setting: float, depth: int, method: str) -> int:
    return pipeline_time(int(setting) if method == "duchi" else 1, depth)


def _useful(method: str, found: Mapping[float, Sequence[float]], setting: float) -> int:
    """After how many steps a setting can be best nowhere."""
    most = RIVALS[method].most
    if not found:
        return most
    slowest = max(
        best_time(found, depth, method) / _step(setting, depth, method) for depth in DEPTHS
    )
    return min(most, math.ceil(slowest)) if slowest < math.inf else most


def _steps(problem: Problem, method: str, setting: float, seed: int, most: int) -> float:
    """The steps to the precision, or infinity."""
    found = pprs.minimize(
        problem.fun,
        torch.zeros(problem.dimension, dtype=torch.float64),
        depth=1,
        method=method,
        steps=most,
        seed=seed,
        target=problem.minimum + problem.epsilon,
        **RIVALS[method].given(problem, setting),
    )
    return found.nit if found.success else math.inf
