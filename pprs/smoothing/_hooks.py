"""Gradients of a step that is taken in parts: hooks of parameters see them whole, as in torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class StepGradients:
    """The `.grad` of parameters, while the parts of a step are added up in it.

    Args:
        parameters: all that the step may reach.
        accumulate: whether what is in `.grad` is added in the end.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, accumulate: bool = False) -> None:
        self._earlier = {parameter: parameter.grad for parameter in parameters}
        self._accumulate = accumulate

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside the block they are empty first, and no hook runs; put back after an error."""
        try:
            for parameter in self._earlier:
                parameter.grad = None
            with hooks_held(self._earlier):
                yield
        except BaseException:
            self.put_back()
            raise

    def put_back(self) -> None:
        """Leave in `.grad` what was there before the step."""
        for parameter, earlier in self._earlier.items():
            parameter.grad = earlier

    @torch.no_grad()
    def close(self) -> None:
        """Run the hooks on the gradients of the step, and add what was there."""
        for parameter, there in reversed(self._earlier.items()):
            earlier = there if self._accumulate else None
            if parameter.grad is None:
                parameter.grad = earlier
                continue
            for hook in list((parameter._backward_hooks or {}).values()):
                changed = hook(parameter.grad)
                parameter.grad = parameter.grad if changed is None else changed
            if earlier is not None:
                parameter.grad = earlier + parameter.grad
            for hook in list((parameter._post_accumulate_grad_hooks or {}).values()):
                hook(parameter)


@contextmanager
def hooks_held(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside the block, no hook of a parameter runs: of its gradient, or once that is there."""
    held: list[tuple[dict[int, Any], int, Any]] = []
    for parameter in parameters:
        for hooks in (parameter._backward_hooks, parameter._post_accumulate_grad_hooks):
            if hooks:
                held += [(hooks, key, hook) for key, hook in hooks.items()]
    for hooks, key, _ in held:
        hooks[key] = _nothing  # in place, as autograd holds them, too
    try:
        yield
    finally:
        for hooks, key, hook in held:
            if key in hooks:  # not removed meanwhile
                hooks[key] = hook


def _nothing(_: object) -> None:
    """A hook that does nothing."""
