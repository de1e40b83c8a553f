"""Vectors in the memories of nodes, and where the model allows to use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, overload

import numpy as np

from pprs.theory.objective import Array

Kind: TypeAlias = Literal["forward", "backward"]


class ModelError(RuntimeError):
    """A step that the model does not allow."""


@dataclass(frozen=True)
class Vector:
    """A vector in a node's memory. Sums and multiples of vectors of one node take no time.

    Args:
        value: shape `(p,)`, or `(B, p)` for those of B starts at once.
        node: whose memory it is in.
        ready: since when.
        made: by passes of which kind of that node, if it was: only what a node has made itself can
            be sent on.

    Example:
        >>> once = Vector(np.ones(2), "f1", ready=3.0)
        >>> (2 * once + once).value
        array([3., 3.])
    """

    value: Array
    node: str
    ready: float
    made: Kind | None = None
    __array_ufunc__: ClassVar[None] = None  # an array times this is `__rmul__`

    def __add__(self, other: Vector) -> Vector:
        if not isinstance(other, Vector):
            return NotImplemented
        if other.node != self.node:
            raise ModelError(
                f"{self.node!r} cannot add a vector that {other.node!r} holds: send it first"
            )
        made = self.made if self.made == other.made else None
        return Vector(self.value + other.value, self.node, max(self.ready, other.ready), made)

    def __sub__(self, other: Vector) -> Vector:
        return self + -1.0 * other

    def __rmul__(self, factor: float | Array) -> Vector:
        return Vector(factor * self.value, self.node, self.ready, self.made)


@dataclass(frozen=True)
class Rows(Sequence[Vector]):
    """Vectors of one node since one time, as the rows of one array: a list without copies.

    Args:
        values: shape `(K, p)`, or `(K, B, p)` for those of B starts at once.
        node: whose memory they are in.
        ready: since when.
    """

    values: Array
    node: str
    ready: float

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Vector: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Vector | Rows:
        kind = Rows if isinstance(index, slice) else Vector
        return kind(self.values[index], self.node, self.ready)


def stacked(vectors: Sequence[Vector]) -> Array:
    """The values of vectors as one array."""
    if isinstance(vectors, Rows):
        return vectors.values
    return np.stack([vector.value for vector in vectors])
