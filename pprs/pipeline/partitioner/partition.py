"""Cut a chain of layers into consecutive pieces."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pprs._arguments import counts, non_negative
from pprs.pipeline.partitioner.costs import Cost

_Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Memory:
    """What a stage may keep in memory.

    A stage keeps its parameters, a gradient of each, the optimizer's state, and the activations of
    the microbatches in flight.

    Args:
        limit: bytes, above 0.
        optimizer: bytes of the optimizer's state for each byte of parameters, at least 0: 1 for a
            momentum, 2 for Adam.
        in_flight: microbatches whose activations a stage keeps, at least 0: a number for all
            stages, or one for each. Under `"gpipe"` all microbatches; under `"1f1b"` as many
            as there are stages from this one on.

    Example:
        >>> memory = Memory(limit=10_000, optimizer=2, in_flight=4)  # Adam, four microbatches
        >>> layer = Cost(
        ...     forward=0.01, backward=0.02, parameters=1000, activations=500, output=100
        ... )
        >>> memory.needed([layer], in_flight=4)
        6000
    """

    limit: float
    optimizer: float = 0.0
    in_flight: float | Sequence[float] = 1

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"limit must be a number of bytes above 0, got {self.limit!r}")
        non_negative(optimizer=self.optimizer)
        for number in (
            self.flights(1) if isinstance(self.in_flight, int | float) else self.in_flight
        ):
            non_negative(in_flight=number)

    def flights(self, stages: int) -> list[float]:
        """The microbatches in flight of each stage.

        Raises:
            ValueError: if `in_flight` has another number of them.
        """
        if isinstance(self.in_flight, int | float):
            return [self.in_flight] * stages
        if len(self.in_flight) != stages:
            raise ValueError(
                f"in_flight must be one number or {stages}, one for each stage, got "
                f"{len(self.in_flight)} numbers"
            )
        return list(self.in_flight)

    def needed(self, layers: Sequence[Cost], in_flight: float) -> float:
        """The bytes that a stage of these layers keeps."""
        parameters = sum(layer.parameters for layer in layers)
        activations = sum(layer.activations for layer in layers)
        return (2 + self.optimizer) * parameters + in_flight * activations


def partition(
    costs: Sequence[float] | Sequence[Cost],
    stages: int,
    *,
    memory: Memory | None = None,
) -> list[range]:
    """Cut a chain into consecutive, non-empty pieces so that the largest cost is minimal.

    Dynamic programming over the last cut, in time of order `stages` times the square of the
    number of layers.

    Args:
        costs: the cost of each layer, at least 0, any unit; or what was measured, whose cost is
            the time of a forward and a backward pass.
        stages: number of pieces, between 1 and `len(costs)`.
        memory: what a stage may keep; needs measured costs.

    Returns:
        The layers of each piece, in order; they cover all layers.

    Raises:
        ValueError: if there are fewer layers than stages, or every cut needs more memory: then
            with the least limit that would do.

    Example:
        >>> partition([1, 1, 1, 3], stages=2)
        [range(0, 3), range(3, 4)]
    """
    counts(stages=stages)
    layers = len(costs)
    if stages > layers:
        raise ValueError(
            f"a network of {layers} layers can be cut into 1 to {layers} stages, got {stages}"
        )
    measured = [cost for cost in costs if isinstance(cost, Cost)]
    times = [c.forward + c.backward if isinstance(c, Cost) else c for c in costs]
    for layer, seconds in enumerate(times):
        non_negative(**{f"cost of layer {layer}": seconds})
    cost = _sums(times)
    if memory is None:
        return _least([cost] * stages)[1]
    if len(measured) < layers:
        raise ValueError("memory needs the costs that measure() gives, got numbers")
    needed = _needed(measured, memory, stages)
    fits = _least([np.where(need <= memory.limit, cost, math.inf) for need in needed])
    if fits[0] == math.inf:
        least = _least(needed)[0]
        raise ValueError(
            f"no cut into {stages} stages keeps every stage within {memory.limit:.0f} bytes: the "
            f"least limit that one does is {math.ceil(least)} bytes"
        )
    return fits[1]


def partition_at(layers: Sequence[str], cut: Sequence[str | int]) -> list[range]:
    """Cut a chain by hand.

    Args:
        layers: the names of the layers, in order.
        cut: the first layer of each stage but the first, in order: its name, the name of a module
            that begins with it, or its index, between 1 and `len(layers) - 1`.

    Returns:
        The layers of each stage.

    Raises:
        ValueError: for a name or index that is not there, or not in order.

    Example:
        >>> partition_at(["embed", "blocks.0.a", "blocks.0.b", "head"], ["blocks.0", "head"])
        [range(0, 1), range(1, 3), range(3, 4)]
    """
    if len(cut) >= len(layers):
        raise ValueError(
            f"cut must name fewer layers than there are, since each begins a stage after the "
            f"first: got {len(cut)} of {len(layers)}"
        )
    begins = [_place(layers, where) for where in cut]
    for (a, before), (b, after) in pairwise(zip(cut, begins, strict=True)):
        if after <= before:
            raise ValueError(
                f"cut must name layers in the order of the network: {b!r} is layer {after} and "
                f"comes after {a!r}, layer {before}"
            )
    return [range(start, stop) for start, stop in pairwise([0, *begins, len(layers)])]


def _place(layers: Sequence[str], where: str | int) -> int:
    if isinstance(where, int):
        if not 1 <= where < len(layers):
            raise ValueError(f"cut must hold indices from 1 to {len(layers) - 1}, got {where}")
        return where
    begins = [i for i, name in enumerate(layers) if name == where or name.startswith(f"{where}.")]
    if not begins:
        close = difflib.get_close_matches(where, layers, n=3, cutoff=0.0)
        raise ValueError(
            f"cut names {where!r}, but no layer is called or lies under it; the closest are "
            f"{', '.join(map(repr, close))}"
        )
    if begins[0] == 0:
        raise ValueError(f"cut names {where!r}, with which the first stage begins anyway")
    return begins[0]


def _sums(values: Sequence[float]) -> _Matrix:
    """The sum of the values of all layers from row to column; infinite where there is none."""
    before = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    sums: _Matrix = before[None, :] - before[:, None]
    sums[np.tril_indices(len(before))] = math.inf
    return sums


def _needed(costs: Sequence[Cost], memory: Memory, stages: int) -> list[_Matrix]:
    parameters = _sums([cost.parameters for cost in costs])
    activations = _sums([cost.activations for cost in costs])
    fixed = (2 + memory.optimizer) * parameters
    return [fixed + (number * activations if number else 0.0) for number in memory.flights(stages)]


def _least(pieces: Sequence[_Matrix]) -> tuple[float, list[range]]:
    """The least bottleneck over all cuts, and the cut.

    Args:
        pieces: for each stage, the cost of a piece from layer (row) to layer (column).
    """
    least, cuts = pieces[0][0], []
    for cost in pieces[1:]:
        largest = np.maximum(least[:, None], cost)
        cuts.append(largest.argmin(axis=0))
        least = largest.min(axis=0)
    ends = [len(least) - 1]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    return float(least[-1]), [range(a, b) for a, b in pairwise([0, *reversed(ends)])]
