"""The worst-case functions and the methods that are run on them, with the theory's settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pprs._arguments import counts
from pprs.theory import methods
from pprs.theory.bounds import (
    Bound,
    delayed_gradients,
    lower_nonsmooth,
    lower_smooth_convex,
    pprs_convex,
    subgradient,
)
from pprs.theory.objective import Objective
from pprs.theory.sweep import MethodAt
from pprs.theory.worst_case import NonSmooth, SmoothConvex

FunctionName: TypeAlias = Literal["non-smooth", "smooth"]
MethodName: TypeAlias = Literal[
    "subgradient", "pprs", "randomized-smoothing", "pipedream", "gd", "agd"
]

_LARGEST = 1_000_000  # pairs or coordinates
_ENTRIES = 1e8  # of all perturbations of a step


@dataclass(frozen=True)
class Problem:
    r"""A function, a precision, and the methods that are to reach it.

    Args:
        name: with the equation's number.
        objective: in one node.
        minimum: of the objective.
        epsilon: the precision.
        lower: the lower bound on the time at each depth.
        methods: by name.
        default: names of those that are run unless others are asked for.
    """

    name: str
    objective: Objective
    minimum: float
    epsilon: float
    lower: Callable[[int], float]
    methods: Mapping[str, MethodAt]
    default: tuple[str, ...]


def problem_of(
    function: FunctionName,
    ratio: float | None = None,
    pairs: int | None = None,
    coordinates: int | None = None,
) -> Problem:
    r"""The problem of a function, whose size is checked before memory is asked for.

    Args:
        function: `"non-smooth"`, Eq. (8), or `"smooth"`, Eq. (1).
        ratio: above 0; by default 200 and 100,000.
        pairs: k; by default 3, and that for which Eq. (5) says most.
        coordinates: l of Eq. (8), 90 by default.

    Raises:
        ValueError: for sizes out of range, or that no memory would hold.
    """
    for name, value in {"pairs": pairs, "coordinates": coordinates}.items():
        if value is not None:
            counts(**{name: value})
            if value > _LARGEST:
                raise ValueError(f"{name} go up to {_LARGEST:,} here, got {value}")
    if function == "smooth":
        if coordinates is not None:
            raise ValueError("coordinates are those of the non-smooth function, and this is smooth")
        ratio = 1e5 if ratio is None else ratio
        if (pairs or math.sqrt(ratio)) > _LARGEST:
            raise ValueError(f"ratio={ratio:g} takes more than {_LARGEST:,} pairs of coordinates")
        return beta_smooth_problem(ratio, pairs)
    ratio, coordinates = 200.0 if ratio is None else ratio, coordinates or 90
    rows = 3.5 * ratio  # the most perturbations of a step: those for d = 1
    if rows * coordinates > _ENTRIES:
        raise ValueError(
            f"ratio={ratio:g} takes too many perturbations of that many coordinates for one step"
        )
    return lipschitz_problem(ratio, 3 if pairs is None else pairs, coordinates)


def lipschitz_problem(ratio: float, pairs: int, coordinates: int) -> Problem:
    r"""Eq. (8) with L = R = 1 and $\varepsilon$ = 1 / ratio.

    Args:
        ratio: $LR/\varepsilon$, above 0.
        pairs: k.
        coordinates: l.
    """
    function = NonSmooth(1.0, 1.0, pairs, coordinates)
    constants: dict[str, Any] = {"lipschitz": 1.0, "radius": 1.0, "epsilon": 1 / ratio}
    lr = _lr(subgradient(**constants, depth=1))
    smoothed = pprs_convex(**constants, dimension=function.dimension, depth=1)
    sigma, samples = smoothed.sigma, smoothed.samples
    assert sigma is not None
    assert samples is not None
    return Problem(
        name=f"function (8), k = {pairs}, l = {coordinates}, LR/ε = {ratio:g}",
        objective=function.chain(1),
        minimum=function.minimum,
        epsilon=1 / ratio,
        lower=lambda depth: lower_nonsmooth(**constants, depth=depth).time,
        methods={
            "subgradient": lambda _: methods.SubgradientDescent(lr),
            # Nothing is proved of AGD here, so no step is its own: it has the subgradient's.
            "agd": lambda _: methods.Accelerated(lr),
            "pprs": lambda _: methods.PPRS(_lr(smoothed), sigma=sigma, samples=samples),
            "randomized-smoothing": lambda _: methods.RandomizedSmoothing(1.0, 1.0, samples),
            "pipedream": lambda d: methods.PipeDream(_lr(delayed_gradients(**constants, depth=d))),
        },
        default=("subgradient", "agd", "pprs"),
    )


def beta_smooth_problem(ratio: float, pairs: int | None = None) -> Problem:
    r"""Eq. (1) with $\beta$ = R = 1 and $\varepsilon$ = 1 / ratio.

    Args:
        ratio: $\beta R^2/\varepsilon$, above 0.
        pairs: k; by default the one for which Eq. (5) says most.
    """
    if pairs is None:
        pairs = max(1, math.ceil(math.sqrt(3 * ratio / 32)) - 1)
    function = SmoothConvex(1.0, 1.0, pairs)
    return Problem(
        name=f"function (1), k = {pairs}, βR²/ε = {ratio:g}",
        objective=function.chain(1),
        minimum=function.minimum,
        epsilon=1 / ratio,
        lower=lambda depth: (
            lower_smooth_convex(smoothness=1.0, radius=1.0, epsilon=1 / ratio, depth=depth).time
        ),
        methods={
            "gd": lambda _: methods.GradientDescent(1.0),
            "agd": lambda _: methods.Accelerated(1.0),
        },
        default=("gd", "agd"),
    )


def _lr(bound: Bound) -> float:
    assert bound.lr is not None  # only lower bounds lack settings
    return bound.lr
