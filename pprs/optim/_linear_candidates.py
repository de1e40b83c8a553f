"""Candidates of any optimizer whose steps are proportional to its step size."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pprs.optim._candidates import Candidates
from pprs.optim._smoothed_gradient import Centre


class LinearCandidates(Candidates):
    """Those of torch's optimizers, such as SGD, Adam and AdamW.

    The optimizer takes its step, and the parameters are put back. Its first step is taken at two
    step sizes, to see that it is proportional to them and that the state does not depend on them.

    Args:
        optimizer: whose steps they are.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self.by_name: dict[str, Tensor] | None = None
        self._checked = False

    @property
    def pending(self) -> bool:
        """Whether there is such a step."""
        return self.by_name is not None

    def centre(self, factor: float) -> dict[str, Tensor]:
        """What the parameters would be."""
        centre = {name: parameter.detach() for name, parameter in self.parameters.items()}
        for name, move in (self.by_name or {}).items():
            if name in centre:  # not frozen since
                centre[name] = torch.add(centre[name], move.to(centre[name]), alpha=factor)
        return centre

    def accept(self, factor: float, before: Centre) -> None:
        """Make this multiple the step size."""
        self.drop()
        self.rescale(factor)

    def drop(self) -> None:
        """Forget the step."""
        self.by_name = None

    def prepare(self) -> None:
        """Make the next step.

        Raises:
            TypeError: for an optimizer whose step needs a closure.
            ValueError: for one whose steps are not proportional to the step size.
        """
        if not self._checked and self.parameters:
            self._check_proportional()
        self.by_name = self._step()
        self.rescale(1.0)

    def moves(self) -> dict[str, Tensor]:
        """By what the step moves each parameter."""
        return self.by_name or {}

    def _step(self) -> dict[str, Tensor]:
        """By what a step of the optimizer moves the parameters, which it leaves as they are."""
        moved = {name: p for name, p in self.parameters.items() if p.grad is not None}
        before = [parameter.detach().clone() for parameter in moved.values()]
        try:
            self.optimizer.step()
            return {
                name: parameter.detach() - old
                for (name, parameter), old in zip(moved.items(), before, strict=True)
            }
        finally:
            for parameter, old in zip(moved.values(), before, strict=True):
                parameter.copy_(old)

    def _check_proportional(self) -> None:
        kind = type(self.optimizer).__name__
        with self._trial():
            try:
                near = self._step()
            except TypeError as error:
                raise TypeError(
                    f"{kind} cannot be searched, since its step() does not go without a closure "
                    f"({error}): take SGD, Adam, AdamW, RMSprop or AGD"
                ) from error
            state = self._settings()
        distance = _far(self.parameters.values())
        with self._trial():
            for group in self.optimizer.param_groups:
                group["lr"] = group["lr"] * distance
            far = self._step()
            if not _same(state, self._settings()):
                self._refuse("its state depends on lr")
        for name, parameter in self.parameters.items():
            if name in near and not _proportional(near[name], far[name] / distance, parameter):
                self._refuse(f"its step of {name!r} is not proportional to lr")
        self._checked = any(bool(move.any()) for move in far.values())

    def _refuse(self, why: str) -> None:
        raise ValueError(
            f"{type(self.optimizer).__name__} cannot be searched, since {why}: take SGD, Adam, "
            f"AdamW, RMSprop or AGD"
        )

    def _settings(self) -> Any:
        """All that a step changes besides the parameters, but for the step size itself."""
        groups = [
            {key: value for key, value in group.items() if key not in {"lr", "params"}}
            for group in self.optimizer.param_groups
        ]
        return copy.deepcopy((groups, list(self.optimizer.state.values())))

    @contextmanager
    def _trial(self) -> Iterator[None]:
        """After the block the optimizer is what it was; inside, its hooks do not run."""
        optimizer = self.optimizer
        state = {key: copy.deepcopy(value) for key, value in optimizer.state.items()}
        groups = [{**group, "params": None} for group in optimizer.param_groups]
        hooks = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
        optimizer._optimizer_step_pre_hooks = OrderedDict()
        optimizer._optimizer_step_post_hooks = OrderedDict()
        try:
            yield
        finally:
            optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks = hooks
            optimizer.state.clear()
            optimizer.state.update(state)
            for group, kept in zip(optimizer.param_groups, copy.deepcopy(groups), strict=True):
                group.update({key: value for key, value in kept.items() if key != "params"})


def _far(parameters: Iterable[Tensor]) -> float:
    """How many times a step size is so large that limits on it show, and nothing overflows."""
    bits = min(-math.log2(torch.finfo(parameter.dtype).eps) for parameter in parameters)
    return float(2 ** min(20, bits - 4))


def _proportional(near: Tensor, far: Tensor, parameter: Tensor) -> bool:
    """Whether moves for the same step size, one found with a larger, differ by rounding only."""
    precision = torch.finfo(parameter.dtype)
    rounding = 8 * precision.eps * (parameter.abs() + near.abs()) + precision.tiny
    return bool(((far - near).abs() <= rounding).all())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
