"""Sketches of gradients: a few sums to compare, so that no gradient has to be kept or sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import Tensor, nn

from pprs.pipeline.selfcheck.rounding import dense, wide

Sketches = dict[str, Tensor]

_NUMBERS = 8  # of a sketch; a difference looks ten times too small in one of ten million cases
_WIDTH = 4096


@torch.no_grad()
def sketch(tensor: Tensor) -> Tensor:
    """Sums of a tensor's numbers with random signs, which are the same for all of its size.

    It is linear, and its norm is that of the tensor, but for chance.
    """
    x = wide(dense(tensor))
    flat = (torch.view_as_real(x) if x.is_complex() else x).reshape(-1)
    whole = len(flat) // _WIDTH
    signs = _signs(_WIDTH, flat.dtype, flat.device)
    rest = flat[whole * _WIDTH :]
    total = rest @ signs[: len(rest)]
    if whole:
        rows = flat[: whole * _WIDTH].view(whole, _WIDTH) @ signs
        total = total + (rows * _signs(whole, rows.dtype, rows.device)[:, :1]).sum(0)
    return total.double().cpu() / math.sqrt(_NUMBERS)


def sketched_difference(found: Tensor | None, right: Tensor | None) -> float:
    """The relative difference of two gradients, by their sketches; a missing one counts as 0."""
    a = torch.zeros(_NUMBERS, dtype=torch.float64) if found is None else found
    b = torch.zeros_like(a) if right is None else right
    distance = float(torch.linalg.vector_norm(a - b))
    if distance == 0:
        return 0.0
    size = distance / max(float(torch.linalg.vector_norm(x)) for x in (a, b))
    return size if math.isfinite(size) else math.inf


@contextmanager
def arriving(parameters: Mapping[str, nn.Parameter]) -> Iterator[Sketches]:
    """Inside the block, gradients are sketched as they arrive, and freed."""
    sketches: Sketches = {}

    def take(name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        new, parameter.grad = sketch(parameter.grad), None
        sketches[name] = sketches[name] + new if name in sketches else new

    hooks = [
        parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
            partial(take, name)
        )
        for name, parameter in parameters.items()
        if parameter.requires_grad
    ]
    try:
        yield sketches
    finally:
        for hook in hooks:
            hook.remove()


@cache
def _signs(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    bits = torch.randint(2, (count, _NUMBERS), generator=generator, dtype=torch.int8, device="cpu")
    return (2 * bits - 1).to(device, dtype)
