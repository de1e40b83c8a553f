"""The methods of `minimize` by name, with the theory's settings where they have some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pprs.optim._known import Known
from pprs.theory import methods
from pprs.theory.adam import Adam
from pprs.theory.bounds import pprs_convex, pprs_proved, subgradient
from pprs.theory.measured import MeasuredPPRS, samples_for
from pprs.theory.procedure import Procedure
from pprs.theory.proved import ProvedPPRS


@dataclass(frozen=True)
class Planned:
    """A method, and how many steps of it are proved to reach epsilon, if so many are."""

    method: Procedure
    proved: int | None = None


def planned(method: str, known: Known, options: Mapping[str, Any]) -> Planned:
    """The method of a name.

    Args:
        method: one of `METHODS`.
        known: of the objective.
        options: those of the method.

    Raises:
        ValueError: for another name or option, a value out of range, or what the method needs and
            nobody knows.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    allowed, build = METHODS[method]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        takes = ", ".join(allowed)
        raise ValueError(f"method={method!r} has no option {unknown[0]!r}: it takes {takes}")
    return build(known, dict(options))


def _gd(known: Known, options: dict[str, Any]) -> Planned:
    return Planned(methods.GradientDescent(_lr("gd", known, options)))


def _agd(known: Known, options: dict[str, Any]) -> Planned:
    return Planned(methods.Accelerated(_lr("agd", known, options), **options))


def _subgradient(known: Known, options: dict[str, Any]) -> Planned:
    if options:
        return Planned(methods.SubgradientDescent(**options))
    constants = known.needed("subgradient", "lipschitz", "radius", "epsilon")
    bound = subgradient(**constants, depth=known.depth)
    assert bound.lr is not None  # only lower bounds lack it
    return Planned(methods.SubgradientDescent(bound.lr), bound.iterations)


def _adam(known: Known, options: dict[str, Any]) -> Planned:
    return Planned(Adam(**options))


def _duchi(known: Known, options: dict[str, Any]) -> Planned:
    constants = known.needed("duchi", "lipschitz", "radius")
    samples = options.get("samples", samples_for(known.depth))
    return Planned(methods.RandomizedSmoothing(**constants, samples=samples))


def _pprs(known: Known, options: dict[str, Any]) -> Planned:
    constants = known.needed("pprs", "lipschitz", "radius", "epsilon")
    found = pprs_convex(**constants, dimension=known.dimension, depth=known.depth)
    settings = {"lr": found.lr, "sigma": found.sigma, "samples": found.samples, **options}
    return Planned(methods.PPRS(**settings), None if options else found.iterations)


def _measured(known: Known, options: dict[str, Any]) -> Planned:
    samples = options.get("samples", samples_for(known.depth))
    return Planned(MeasuredPPRS(samples, known.epsilon, known.radius, known.lower))


def _proved(known: Known, options: dict[str, Any]) -> Planned:
    constants = known.needed("pprs-proved", "lipschitz", "radius", "epsilon")
    bound = pprs_proved(**constants, **options, dimension=known.dimension, depth=known.depth)
    settings = {**constants, **options, "samples": bound.samples, "lower": known.lower}
    return Planned(ProvedPPRS(**settings), bound.iterations)


def _lr(method: str, known: Known, options: dict[str, Any]) -> float:
    if "lr" not in options:
        if known.smoothness is None:
            raise ValueError(
                f"method={method!r} needs lr, its step size, or smoothness; method='auto' does "
                f"without"
            )
        return 1 / known.smoothness
    lr: float = options.pop("lr")
    return lr


METHODS: dict[str, tuple[tuple[str, ...], Callable[[Known, dict[str, Any]], Planned]]] = {
    "auto": (("samples",), _measured),
    "gd": (("lr",), _gd),
    "agd": (("lr", "momentum"), _agd),
    "subgradient": (("lr",), _subgradient),
    "adam": (("lr",), _adam),
    "duchi": (("samples",), _duchi),
    "pprs": (("lr", "sigma", "samples", "momentum"), _pprs),
    "pprs-measured": (("samples",), _measured),
    "pprs-proved": (("samples", "width"), _proved),
}
"""The options of each method, and what builds it from them."""
