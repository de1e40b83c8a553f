"""Derivatives that can be taken once: what would take them again is refused, whatever it asks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]
Backward = Callable[..., Gradients]


def once_differentiable(backward: Backward) -> Backward:
    """As torch's `once_differentiable`, whose refusal `torch.autograd.grad` may pass by.

    There the gradients' graph ends, and what asks for certain derivatives does not go to its end.
    Here it goes on to all that the gradients depend on.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Tensor) -> Gradients:
        if not torch.is_grad_enabled():
            return backward(ctx, *grads)
        with torch.no_grad():
            results = backward(ctx, *grads)
        sources = [t for t in (*grads, *ctx.saved_tensors) if t is not None and t.requires_grad]
        return tuple(
            None if result is None else _End.apply(result, *sources)  # type: ignore[no-untyped-call]
            for result in results
        )

    return wrapper


class _End(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *sources: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        raise RuntimeError(
            "second derivatives of a smoothed loss (create_graph=True, then differentiated again): "
            "its linear maps, convolutions and group normalisations have first ones only"
        )
