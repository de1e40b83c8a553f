"""Vectors in the memories of nodes, and where the model allows to use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pprs.theory.objective import Array

Kind: TypeAlias = Literal["forward", "backward"]


class ModelError(RuntimeError):
    """A step that the model does not allow."""


@dataclass(frozen=True)
class Vector:
    """A vector in a node's memory. Sums and multiples of vectors of one node take no time.

    Args:
        value: shape `(p,)`.
        node: whose memory it is in.
        ready: since when.
        made: by passes of which kind of that node, if it was: only what a node has made itself can
            be sent on.
    """

    value: Array
    node: str
    ready: float
    made: Kind | None = None

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

    def __rmul__(self, factor: float) -> Vector:
        return Vector(factor * self.value, self.node, self.ready, self.made)
