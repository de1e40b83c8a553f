"""A job at work."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.func import grad

from pprs_experiments.attack.rules import Rule
from pprs_experiments.maxima import plan
from pprs_experiments.maxima.bundle import bundle
from pprs_experiments.maxima.lanes import Vectors, first_steps, polyak
from pprs_experiments.maxima.library import Taken, minimized, reached, searched
from pprs_experiments.maxima.plan import GAPS, Job
from pprs_experiments.maxima.problems import VARIATION, Problem, noisy_image
from pprs_experiments.maxima.results import Row
from pprs_experiments.maxima.solvers import projected_dual

_ALONG = 21  # points from the start to the minimum, at which L is looked for


def compute(job: Job, problem: Problem) -> list[Row]:
    """The results of a job, a row for each method and setting that costs another price."""
    rows, began = [], time.perf_counter()
    for method, setting, taken in _taken(job, problem):
        ended = time.perf_counter()
        rows.append(
            Row(
                problem=job.problem,
                seed=job.seed,
                job=job.method,
                method=method,
                depth=job.depth,
                setting=setting,
                passes=taken.passes,
                begun=taken.begun,
                steps=list(taken.steps),
                most=taken.most,
                seconds=float(f"{ended - began:.3g}"),
                first=problem.first,
                minimum=problem.optimum.value,
            )
        )
        began = ended
    return rows


Found: TypeAlias = tuple[str, list[float], Taken]
"""A method, its setting (for one gradient a step the best for each goal), and its steps."""


def _taken(job: Job, problem: Problem) -> Iterator[Found]:
    goals = [problem.goal(gap) for gap in GAPS]
    given = problem, job.depth, goals, plan.SEVERAL, job.seed
    if job.method == plan.TOGETHER:
        yield from _rules(problem, goals)
    elif job.method == "bundle":
        yield _bundle(problem, goals)
    elif job.method == "duchi":
        yield from _duchi(problem, goals, job.seed)
    elif job.method in ("searched", "pprs-search"):
        yield job.method, [], searched(*given, adam=job.method == "searched")
    elif job.method in plan.UNTUNED:
        yield job.method, [], minimized(*given, **_told(job.method, problem))
    elif job.method == "dual":
        noisy = noisy_image(job.seed, math.isqrt(len(problem.start)))
        steps = [projected_dual(noisy, VARIATION, plan.SINGLE, goal)[1] for goal in goals]
        yield job.method, [], Taken(1, 0, steps, plan.SINGLE)
    else:  # its time was measured with the problem
        yield job.method, [problem.seconds], Taken(0, 0, [], 0)


def _told(method: str, problem: Problem) -> dict[str, Any]:
    """What `pprs.minimize` is told of the function."""
    epsilon = problem.goal(GAPS[-1]) - problem.optimum.value
    told: dict[str, dict[str, Any]] = {
        "auto": {},
        "auto-known": {"epsilon": epsilon, "radius": _distance(problem)},
        "auto-lower": {"lower": 0.0},
    }
    return told[method]


def _distance(problem: Problem) -> float:
    return float((problem.optimum.theta - problem.start).norm())


def _rules(problem: Problem, goals: Sequence[float]) -> Iterator[Found]:
    rules: dict[str, tuple[Rule, Sequence[float]]] = {
        name: (rule, [factor * unit(problem, adam=name == "adam") for factor in plan.FACTORS])
        for name, rule in plan.RULES.items()
    }
    rules["polyak"] = polyak(problem.optimum.value), [1.0]
    found = first_steps(Vectors(problem.fun, problem.start), rules, goals, plan.SINGLE)
    for name, steps in found.items():
        yield name, *_best(steps, plan.FACTORS, plan.SINGLE)


def unit(problem: Problem, *, adam: bool) -> float:
    """Of step sizes: Polyak's at the start; for Adam, as long in every coordinate."""
    steepness = float(grad(problem.fun)(problem.start).norm())
    powers = (1, len(problem.start) ** 0.5) if adam else (2, 1.0)
    return float(problem.first / (steepness ** powers[0] * powers[1]))


def _bundle(problem: Problem, goals: Sequence[float]) -> Found:
    found, most = [], plan.CUTS  # a run that can be best for no goal is ended
    for size in plan.BUNDLE_SIZES:
        values: list[float] = []
        for value in bundle(problem.fun, problem.start, size * unit(problem, adam=False)):
            values.append(value)
            if value <= goals[-1] or len(values) == most:
                break
        found.append(reached(values, goals))
        most = min(most, found[-1][-1] or most)
    return "bundle", *_best(found, plan.BUNDLE_SIZES, plan.CUTS)


def _best(
    found: Sequence[Sequence[int | None]], settings: Sequence[float], most: int
) -> tuple[list[float], Taken]:
    """For each goal the setting that was there first, and its steps; 0 where none was."""
    steps: list[int | None] = []
    chosen = []
    for at_goal in zip(*found, strict=True):
        least = min((n for n in at_goal if n is not None), default=None)
        steps.append(least)
        chosen.append(settings[at_goal.index(least)] if least is not None else 0.0)
    return chosen, Taken(1, 0, steps, most)


def _duchi(problem: Problem, goals: Sequence[float], seed: int) -> Iterator[Found]:
    distance = _distance(problem)
    lipschitz = max(float(grad(problem.fun)(x).norm()) for x in _between(problem))
    for samples, factor in product(plan.DUCHI_SAMPLES, plan.DUCHI_RADII):
        known = {"lipschitz": lipschitz, "radius": factor * distance, "samples": samples}
        taken = minimized(problem, 1, goals, plan.SEVERAL, seed, method="duchi", **known)
        yield "duchi", [float(samples), factor], taken


def _between(problem: Problem) -> Iterator[Tensor]:
    for part in torch.linspace(0, 1, _ALONG).tolist():
        yield torch.lerp(problem.start, problem.optimum.theta, part)
