"""Run modules to see their outputs, and leave their state as it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

Undo = Callable[[], None]


@contextmanager
def untouched(module: nn.Module) -> Iterator[list[str]]:
    """Undo at the end what the block does to a module's buffers and other attributes.

    That is every tensor but parameters, and every number, list, dictionary or set, that the module
    or one inside it holds.

    Yields:
        A list; at the end, the names of the buffers that had changed.
    """
    buffers = {name: (b, _copy(b)) for name, b in module.named_buffers()}
    undo: list[Undo] = []
    for part in module.modules():
        undo += [*_kept(vars(part))]
    changed: list[str] = []
    try:
        yield changed
    finally:
        now = dict(module.named_buffers())
        changed += [
            name
            for name, (buffer, before) in buffers.items()
            if now.get(name) is not buffer or not _same(buffer, before)
        ]
        for step in undo:
            step()


def _kept(value: object) -> Iterator[Undo]:
    """How to put back what a value holds."""
    if isinstance(value, Tensor):
        if not isinstance(value, nn.Parameter) and not value.is_meta:
            yield partial(_restore, value, _copy(value))
    elif isinstance(value, dict):
        yield partial(_refill, value, dict(value))
        for inner in value.values():
            yield from _kept(inner)
    elif isinstance(value, list | deque | set):
        yield partial(_refill, value, value.copy())
        for inner in value:
            yield from _kept(inner)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _same(tensor: Tensor, before: Tensor) -> bool:
    return tensor.shape == before.shape and bool(torch.equal(tensor.detach(), before))


@torch.no_grad()
def _restore(tensor: Tensor, before: Tensor) -> None:
    if not _same(tensor, before):
        tensor.detach().resize_(before.shape).copy_(before)


def _refill(value: dict | list | deque | set, before: dict | list | deque | set) -> None:  # type: ignore[type-arg]
    value.clear()
    (value.extend if isinstance(value, list | deque) else value.update)(before)
