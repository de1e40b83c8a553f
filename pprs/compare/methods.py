"""The methods that `pprs compare` compares: an optimizer, and the gradient that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn
from torch.optim import Adam, Optimizer

from pprs.compare.config import MethodName
from pprs.optim import AGD, Momentum

Gradient: TypeAlias = Literal["plain", "one draw", "mean"]
Parameters = Iterable[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class Method:
    """A method of optimization.

    Args:
        label: what tables and plots call it.
        gradient: at the parameters, at one perturbation of them, or the mean over K of these.
        optimizer: from parameters, step size and momentum.
        lr: the step sizes that the search tries unless others are given.
    """

    label: str
    gradient: Gradient
    optimizer: Callable[[Parameters, float, Momentum], Optimizer]
    lr: tuple[float, ...]


def _gd(parameters: Parameters, lr: float, momentum: Momentum) -> Optimizer:
    return AGD(parameters, lr, momentum=0)


def _adam(parameters: Parameters, lr: float, momentum: Momentum) -> Optimizer:
    return Adam(parameters, lr, foreach=True)


METHODS: Mapping[MethodName, Method] = {
    "gd": Method("GD", "plain", _gd, (0.03, 0.1, 0.3)),
    "agd": Method("AGD", "plain", AGD, (0.01, 0.03, 0.1)),
    "adam": Method("Adam", "plain", _adam, (0.001, 0.003, 0.01)),
    "one-draw-adam": Method("one draw, then Adam", "one draw", _adam, (0.001, 0.003, 0.01)),
    "pprs": Method("PPRS", "mean", AGD, (0.01, 0.03, 0.1)),
    "adam-smoothed": Method("smoothed Adam", "mean", _adam, (0.001, 0.003, 0.01)),
}


def evaluating(optimizer: Optimizer) -> AbstractContextManager[None]:
    """The parameters hold the method's result inside the block: $y_t$ for AGD."""
    return optimizer.evaluating() if isinstance(optimizer, AGD) else nullcontext()
