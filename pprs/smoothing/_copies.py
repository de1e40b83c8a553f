"""Copies where a plain pass has views: a change of one of the two would have been one of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._checks import Refusal
from pprs.smoothing._vmap import underlying


class Copies:
    """Pairs of tensors that the closure takes for one memory."""

    def __init__(self) -> None:
        self._partners: dict[int, list[_Seen]] = {}

    def __bool__(self) -> bool:
        return bool(self._partners)

    def add(self, original: Tensor, copy: Tensor) -> None:
        """One more copy, whose values are those of the original now."""
        others = [seen.tensor for seen in self._partners.get(memory(original), ())]
        for other in (original, *others):
            self._pair(other, copy)
            self._pair(copy, other)

    def check(self, arguments: Iterable[Any]) -> None:
        """See that no tensor among the arguments should have changed with its partner.

        Raises:
            RuntimeError: if one should have.
        """
        for argument in arguments:
            if isinstance(argument, tuple | list):
                self.check(argument)
            elif isinstance(argument, Tensor) and self._is_stale(argument):
                raise Refusal(
                    "the closure reshapes the result of a convolution or group normalisation, "
                    "which copies it where the perturbations run together, then changes one of the "
                    "two in place, and reads the other: write `x = x + y` for `x += y`, and leave "
                    "out inplace=True"
                )

    def _pair(self, one: Tensor, other: Tensor) -> None:
        self._partners.setdefault(memory(one), []).append(_Seen(other))

    def _is_stale(self, tensor: Tensor) -> bool:
        return any(seen.has_changed() for seen in self._partners.get(memory(tensor), ()))


class _Seen:
    """A tensor as it was; its memory is kept, so that no other has its address."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = underlying(tensor)
        inference = self.tensor.is_inference()  # such have no version
        self._before = self.tensor.clone() if inference else self.tensor._version

    def has_changed(self) -> bool:
        now, before = self.tensor, self._before
        return (
            not torch.equal(now, before) if isinstance(before, Tensor) else now._version != before
        )


def memory(tensor: Tensor) -> int:
    """What tensors share whose values lie in one memory."""
    try:
        return int(underlying(tensor).untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse, nested, inside torch.func.grad, ...
        return 0
