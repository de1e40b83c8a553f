"""What is run: functions, seeds, methods with their grids, and the jobs in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from pprs_experiments.attack.rules import Rule, adam, nesterov, subgradient
from pprs_experiments.maxima.problems import PROBLEMS

SEEDS = (0, 1, 2)
DEPTHS = (1, 10, 100)
GAPS = (0.1, 0.01)
SINGLE, SEVERAL, CUTS = 5_000, 600, 300
"""The most steps: with one gradient, with several, and of the bundle method."""

FACTORS = tuple(float(f"{10 ** (1 - half / 2):.3g}") for half in range(11))
"""Of the unit of a step size."""
RULES: Mapping[str, Rule] = {
    "subgradient": subgradient,
    "agd-0.9": nesterov(0.9),
    "agd": nesterov("nesterov"),
    "adam": adam(),
}
FIRST_ORDER = tuple(RULES)
"""What claims take the best of."""
TOGETHER = "one gradient"
"""All rules, and Polyak's steps: what takes one gradient a step runs together."""
DUCHI_SAMPLES, DUCHI_RADII = (4, 16, 64), (1.0, 3.0)
BUNDLE_SIZES = (10.0, 100.0, 1.0, 1000.0)

UNTUNED: Mapping[str, str] = {
    "auto": "`pprs.minimize`, told nothing",
    "auto-known": "`pprs.minimize`, told ε and R",
    "auto-lower": "`pprs.minimize`, told f ≥ 0",
    "searched": "searched step before Adam",
    "pprs-search": '`pprs.PPRS`, `lr="search"`',
}
LABELS: Mapping[str, str] = {
    **UNTUNED,
    "subgradient": "subgradient, 1/√t",
    "agd-0.9": "AGD, μ = 0.9",
    "agd": "AGD, Nesterov's μ",
    "adam": "Adam",
    "polyak": "Polyak's steps, f* known",
    "duchi": "Duchi et al.",
    "bundle": "proximal bundle",
}


@dataclass(frozen=True)
class Job:
    """A method at all its settings, on a function.

    Args:
        problem: its name.
        seed: of the function, and of what the method draws.
        method: its name; "solver" and "dual" are the specialised solvers.
        depth: of the pipeline; 0 where the steps do not depend on it.
    """

    problem: str
    seed: int
    method: str
    depth: int = 0


def jobs() -> list[Job]:
    """All, one seed after the other."""
    return [
        Job(problem, seed, method, depth)
        for seed, problem in product(SEEDS, PROBLEMS)
        for method, depths in _METHODS.items()
        if method != "dual" or problem == "image"
        for depth in depths
    ]


_METHODS: Mapping[str, tuple[int, ...]] = {
    "solver": (0,),
    "dual": (0,),
    TOGETHER: (0,),
    "bundle": (0,),
    "duchi": (0,),
    "auto": DEPTHS,
    "auto-known": DEPTHS,
    "auto-lower": DEPTHS[-1:],
    "searched": (1, 100),
    "pprs-search": (1, 100),
}
"""And the depths at which they are run; searched steps have the same K at depths of 1 and 10."""
