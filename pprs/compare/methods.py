"""The methods that are compared: an optimizer, the gradient that it gets, and what is tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pprs.optim.registry import OPTIMIZERS

MethodName: TypeAlias = Literal["plain", "one-draw", "pprs", "smoothed", "searched", "gd", "agd"]
Gradient: TypeAlias = Literal["plain", "one draw", "mean", "searched"]

FEWEST: tuple[MethodName, ...] = ("plain", "one-draw", "pprs", "smoothed", "searched")

# In the order in which they are tried, so that fewer trials are the likelier ones.
_STEP_SIZES = (1.0, 0.3, 3.0, 0.1, 10.0, 0.03, 30.0, 0.01, 100.0)
_PAIRS = ((1, 1), (0.3, 1), (3, 1), (1, 3), (1, 0.3), (0.3, 3), (3, 0.3), (0.3, 0.3), (3, 3))
MOST_TRIALS = len(_PAIRS)

_CENTRE = 0.003  # of the step sizes of an optimizer of the user's


@dataclass(frozen=True)
class ComparedMethod:
    """A method of optimization.

    Args:
        label: what tables and plots call it, with a place for the optimizer's name.
        gradient: at the parameters, at one perturbation of them, or of K: their mean, or that at
            the best of three steps which share them.
        optimizer: its name, if it is not the one that is asked for.
        lr: the step size around which others are tried, if not that of the optimizer.
        fixed: settings of the optimizer that the method sets.
    """

    label: str
    gradient: Gradient
    optimizer: str | None = None
    lr: float | None = None
    fixed: Mapping[str, Any] | None = None

    @property
    def averages(self) -> bool:
        """Whether a step has K perturbations."""
        return self.gradient in ("mean", "searched")

    @property
    def perturbed(self) -> bool:
        """Whether a step has any."""
        return self.gradient != "plain"

    def named(self, optimizer: str) -> str:
        """Its label, for the optimizer that is asked for."""
        known = OPTIMIZERS.get(optimizer)
        return self.label.format(known.label if known else optimizer.rpartition(":")[2])


METHODS: Mapping[MethodName, ComparedMethod] = {
    "plain": ComparedMethod("{}", "plain"),
    "one-draw": ComparedMethod("one draw + {}", "one draw"),
    "pprs": ComparedMethod("PPRS", "mean", "agd"),
    "smoothed": ComparedMethod("smoothing + {}", "mean"),
    "searched": ComparedMethod("searched + {}", "searched"),
    "gd": ComparedMethod("GD", "plain", "agd", 0.1, {"momentum": 0.0}),
    "agd": ComparedMethod("AGD", "plain", "agd"),
}


@dataclass(frozen=True, order=True)
class Setting:
    """What is chosen for a method.

    Args:
        lr: step size, or `None` where the run searches it.
        sigma: of the perturbations; 0 without any.
    """

    lr: float | None
    sigma: float


def candidates(
    method: ComparedMethod,
    trials: int,
    *,
    optimizer: str,
    lr: float | None,
    sigma: float,
    fixed_sigma: bool,
) -> list[Setting]:
    """What is tried for a method, the likeliest first: as many for all but the searched step.

    Args:
        method: which one.
        trials: how many, up to `MOST_TRIALS`.
        optimizer: that is asked for.
        lr: the step size around which others are tried; by default the optimizer's `centre`.
        sigma: around which others are tried.
        fixed_sigma: whether it is the only one.
    """
    if method.gradient == "searched":
        return [Setting(None, sigma)]
    known = OPTIMIZERS.get(method.optimizer or optimizer)
    centre = method.lr or (known.centre if known else _CENTRE)
    if lr is not None and (method.optimizer is None or optimizer in ("agd", "sgd")):
        centre = lr
    alone = fixed_sigma or not method.perturbed
    pairs = [(size, 1.0) for size in _STEP_SIZES] if alone else _PAIRS
    return [
        Setting(_rounded(centre * size), _rounded(sigma * noise) if method.perturbed else 0.0)
        for size, noise in pairs[:trials]
    ]


def _rounded(x: float) -> float:
    return float(f"{x:.3g}")
