"""The function that the lower bound for non-smooth convex functions is proved with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pprs.theory.worst_case import NonSmooth
from pprs_experiments.tasks.convex.optimum import Optimum
from pprs_experiments.tasks.convex.problem import Convex


class WorstCase(Convex):
    """Eq. (8) as torch sees it, with the subgradients that tell least.

    Args:
        function: as the theory has it.
    """

    def __init__(self, function: NonSmooth) -> None:
        super().__init__(function.dimension, examples=1)
        self.function = function

    def forward(self) -> Tensor:
        """The value at `theta`."""
        value: Tensor = _Value.apply(self.theta, self.function)  # type: ignore[no-untyped-call]
        return value

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant L, within `reach` of 0."""
        return self.function.lipschitz

    @property
    def reach(self) -> float:
        """How far from 0 the Lipschitz constant holds."""
        return self.function.lipschitz_radius

    def _solve(self) -> Optimum:
        return Optimum(self.function.minimum, torch.from_numpy(self.function.minimiser))


class _Value(torch.autograd.Function):
    """The theory's value and subgradient at points `(..., d)`."""

    @staticmethod
    def forward(theta: Tensor, function: NonSmooth) -> Tensor:
        return theta.new_tensor(function.value(theta.detach().cpu().numpy()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, NonSmooth], output: Tensor) -> None:
        theta, ctx.function = inputs
        ctx.save_for_backward(theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (theta,) = ctx.saved_tensors
        subgradient = theta.new_tensor(ctx.function.gradient(theta.cpu().numpy()))
        return grad[..., None] * subgradient, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, theta: Tensor, function: NonSmooth) -> tuple[Tensor, int]:
        return _Value.apply(theta.movedim(in_dims[0], 0), function), 0  # type: ignore[no-untyped-call]
