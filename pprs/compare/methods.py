"""The methods that `pprs compare` compares: an optimizer, and the gradient that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch.optim import Optimizer

from pprs.compare.config import MethodName
from pprs.optim import Momentum
from pprs.optim.registry import OPTIMIZERS

Gradient: TypeAlias = Literal["plain", "one draw", "mean"]


@dataclass(frozen=True)
class ComparedMethod:
    """A method of optimization.

    Args:
        label: what tables and plots call it.
        gradient: at the parameters, at one perturbation of them, or the mean over K of these.
        optimizer: its name in the registry.
        lr: the step sizes that the search tries unless others are given.
        fixed: options of the optimizer that the method sets, whatever the user says.
    """

    label: str
    gradient: Gradient
    optimizer: str
    lr: tuple[float, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def make(self, parameters: object, lr: float, momentum: Momentum) -> Optimizer:
        """The optimizer, over named parameters."""
        settings = {"momentum": momentum, "foreach": True, **self.fixed}
        return OPTIMIZERS[self.optimizer].make(parameters, lr, settings)


METHODS: Mapping[MethodName, ComparedMethod] = {
    "gd": ComparedMethod("GD", "plain", "agd", (0.03, 0.1, 0.3), {"momentum": 0}),
    "agd": ComparedMethod("AGD", "plain", "agd", (0.01, 0.03, 0.1)),
    "adam": ComparedMethod("Adam", "plain", "adam", (0.001, 0.003, 0.01)),
    "one-draw-adam": ComparedMethod(
        "one draw, then Adam", "one draw", "adam", (0.001, 0.003, 0.01)
    ),
    "pprs": ComparedMethod("PPRS", "mean", "agd", (0.01, 0.03, 0.1)),
    "adam-smoothed": ComparedMethod("smoothed Adam", "mean", "adam", (0.001, 0.003, 0.01)),
}
