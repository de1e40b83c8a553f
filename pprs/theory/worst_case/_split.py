"""Functions of two halves, kept apart by a chain: the nodes at its ends know one each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from pprs._arguments import counts
from pprs.theory.graph import Graph
from pprs.theory.objective import Array, Component, Identity, Objective

Half: TypeAlias = Literal[0, 1]
"""0 is what the first node of the chain knows, 1 what the last one knows."""


class Split(ABC):
    """Two halves that link the same coordinates in turn, and their sum, unless said otherwise.

    A gradient of one half makes at most one more chain coordinate non-zero, and then only the
    other half makes the next one so. What the halves find has to travel through the chain.
    """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Number d of coordinates."""

    @abstractmethod
    def _half(self, theta: Array, half: Half) -> Array:
        """The value `(...)` of one half at `(..., d)`."""

    @abstractmethod
    def _half_gradient(self, theta: Array, half: Half) -> Array:
        """The gradient `(..., d)` of one half at `(..., d)`."""

    def _joined(self, first: Array, last: Array) -> Array:
        """What the last node makes of the values of both halves."""
        return first + last

    def _slopes(self, first: Array, last: Array) -> tuple[Array, Array]:
        """The derivatives of that by each of them."""
        return np.ones_like(first), np.ones_like(last)

    def value(self, theta: Array) -> Array:
        """The function at `(..., d)`, shape `(...)`."""
        theta = self._points(theta)
        return np.asarray(self._joined(self._half(theta, 0), self._half(theta, 1)))

    def gradient(self, theta: Array) -> Array:
        """A (sub)gradient at `(..., d)`, shape `(..., d)`."""
        theta = self._points(theta)
        slopes = self._slopes(self._half(theta, 0), self._half(theta, 1))
        first, last = (slope[..., None] for slope in slopes)
        return first * self._half_gradient(theta, 0) + last * self._half_gradient(theta, 1)

    def chain(self, depth: int) -> Objective:
        r"""The same function, composed along $\Delta$ nodes.

        The first node hands on its input and its half, `(..., d + 1)`; the last one adds its
        own half; those between hand on what they get. A single node computes both halves.

        Args:
            depth: number $\Delta$ of nodes, at least 1.
        """
        counts(depth=depth)
        names = tuple(Graph.chain(depth).nodes)
        components: dict[str, Component] = dict.fromkeys(names, Identity())
        components |= {names[0]: _First(self), names[-1]: _Last(self)}
        if depth == 1:
            components = {names[0]: _Only(self)}
        return Objective(Graph.chain(depth), components, self.dimension)

    def _points(self, theta: Array) -> Array:
        theta = np.asarray(theta, dtype=np.float64)
        if theta.shape[-1:] != (self.dimension,):
            raise ValueError(f"theta must have shape (..., {self.dimension}), got {theta.shape}")
        return theta


@dataclass(frozen=True)
class _First:
    function: Split

    def forward(self, *inputs: Array, example: int) -> Array:
        (theta,) = inputs
        return np.concatenate([theta, self.function._half(theta, 0)[..., None]], axis=-1)

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        passed, own = gradient[..., :-1], self.function._half_gradient(inputs[0], 0)
        return (passed + gradient[..., -1:] * own,)


@dataclass(frozen=True)
class _Last:
    function: Split

    def forward(self, *inputs: Array, example: int) -> Array:
        theta, total = inputs[0][..., :-1], inputs[0][..., -1:]
        return self.function._joined(total, self.function._half(theta, 1)[..., None])

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        theta, total = inputs[0][..., :-1], inputs[0][..., -1:]
        first, last = self.function._slopes(total, self.function._half(theta, 1)[..., None])
        own = last * self.function._half_gradient(theta, 1)
        return (np.concatenate([gradient * own, gradient * first], axis=-1),)


@dataclass(frozen=True)
class _Only:
    function: Split

    def forward(self, *inputs: Array, example: int) -> Array:
        return self.function.value(inputs[0])[..., None]

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        return (gradient * self.function.gradient(inputs[0]),)
