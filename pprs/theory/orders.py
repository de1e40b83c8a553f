r"""The order in which the devices of a pipeline work, by schedule.

Every device works in rounds. Round q is its backward operation q, then (if the backward is split)
a weight operation, then the forward operation that is its warm-up ahead of q. The rounds of all
devices are laid into waves such that whatever an operation waits for lies in an earlier wave, so
that a wave can be timed as one. Waves say what comes before what, not when.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise, product
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from pprs._arguments import counts
from pprs.theory.graph import Graph
from pprs.theory.objective import Array

ScheduleName: TypeAlias = Literal["gpipe", "1f1b", "interleaved", "zero-bubble"]
"""An order of passes, see `makespan`."""
Kind: TypeAlias = Literal["F", "B", "W"]
Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    r"""What the operations of one kind wait for. Every device has at least one link.

    Args:
        first: index of the first link of each device and, last, the number of links.
        source: the device whose operation of the same kind is waited for.
        lag: how many waves earlier that operation is, at least 1.
        latency: `(chunks, links)`, time under way; $-\infty$ where nothing is waited for.
    """

    first: Ints
    source: Ints
    lag: Ints
    latency: Array


@dataclass(frozen=True)
class Operations:
    """The operations of one kind, numbered from 0 on every device.

    Args:
        kind: forward, backward (of zero-bubble: its input part) or weight part.
        slope: 1 or -1; operation i of a device of rank x is in wave
            `step * i - slope * x - shift`.
        shift: a multiple of the order's step.
        names: `(chunks, devices)`, the node of each operation.
        costs: `(chunks, devices)`, its time.
        links: what it waits for besides its own device; `None` for nothing.
    """

    kind: Kind
    slope: int
    shift: int
    names: list[list[str]]
    costs: Array
    links: Links | None = None


@dataclass(frozen=True)
class OperationOrder:
    """What every device does one after the other.

    Operation i of a device is on chunk `i // devices % chunks`, the piece of the graph that the
    device then works on.

    Args:
        ranks: of the devices; grouped by remainder modulo `step`, and ascending in a group.
        step: waves from one operation of a device to its next of the same kind.
        count: operations of each kind on each device.
        kinds: the kinds of operations, in the order of a round.
    """

    ranks: tuple[int, ...]
    step: int
    count: int
    kinds: tuple[Operations, ...]

    @cached_property
    def waves(self) -> range:
        """All waves."""
        ends = [
            self.step * i - each.slope * rank - each.shift
            for each, rank, i in product(self.kinds, set(self.ranks), (0, self.count - 1))
        ]
        return range(min(ends), max(ends) + 1)

    @cached_property
    def _groups(self) -> list[tuple[int, int]]:
        rests = [rank % self.step for rank in self.ranks]
        return list(pairwise(accumulate(map(rests.count, range(self.step)), initial=0)))

    @cached_property
    def _ranks(self) -> Ints:
        return np.array(self.ranks, dtype=np.int64)

    def active(self, each: Operations, wave: int) -> slice:
        """The devices that do an operation of this kind in a wave."""
        newest = each.slope * (-each.shift - wave)  # the rank whose operation 0 it is
        oldest = newest + each.slope * self.step * (self.count - 1)
        low, high = (newest, oldest) if newest < oldest else (oldest, newest)
        start, stop = self._groups[wave % self.step]
        return slice(
            bisect.bisect_left(self.ranks, low, start, stop),
            bisect.bisect_right(self.ranks, high, start, stop),
        )

    def numbers(self, each: Operations, wave: int, devices: slice) -> Ints:
        """The numbers of the operations that these devices do in a wave."""
        numbers: Ints = (wave + each.slope * self._ranks[devices] + each.shift) // self.step
        return numbers

    def chunks(self, each: Operations, numbers: Ints) -> Ints:
        """The chunks that operations are on."""
        chunks: Ints = numbers // len(self.ranks) % len(each.costs)
        return chunks

    def samples(self, each: Operations, numbers: Ints) -> Ints:
        """The samples that operations are of: as many as devices go through all chunks in turn."""
        devices = len(self.ranks)
        samples: Ints = numbers // (devices * len(each.costs)) * devices + numbers % devices
        return samples


def order(
    graph: Graph, samples: int, schedule: ScheduleName, devices: int | None, weight_share: float
) -> OperationOrder:
    """The order of a schedule on a graph; see `makespan` for arguments and errors."""
    counts(samples=samples)
    if schedule not in get_args(ScheduleName):
        known = ", ".join(get_args(ScheduleName))
        raise ValueError(f"schedule must be one of {known}; got {schedule!r}")
    if not 0 <= weight_share <= 1:
        raise ValueError(f"weight_share must be between 0 and 1, got {weight_share!r}")
    if schedule == "interleaved":
        return _interleaved(graph, samples, _shared(graph, samples, devices))
    if devices is not None:
        raise ValueError(
            f"devices is for the interleaved schedule: {schedule} has one for each node, and "
            f"devices must be None, got {devices!r}"
        )
    return _one_each(graph, samples, schedule, weight_share)


def _one_each(
    graph: Graph, samples: int, schedule: ScheduleName, weight_share: float
) -> OperationOrder:
    # A node of height h is in round q at wave 2q + h, after its children (of smaller height). Its
    # warm-up is h, so its forward k is at wave 2k - h, after its parents.
    heights = _heights(graph)
    names = sorted(graph.nodes, key=lambda name: (heights[name] % 2, heights[name]))
    forwards = np.array([[graph.nodes[name].forward for name in names]], dtype=np.float64)
    backwards = np.array([[graph.nodes[name].backward for name in names]], dtype=np.float64)
    weights = backwards * (weight_share if schedule == "zero-bubble" else 0.0)
    to_parents = {n: {p: graph.edges[p, n] for p in graph.parents[n]} for n in names}
    to_children = {n: {c: graph.edges[n, c] for c in graph.children[n]} for n in names}
    late = 2 * samples if schedule == "gpipe" else 0  # all forwards before the first backward
    forward = Operations("F", 1, late, [names], forwards, _links(to_parents, names, heights))
    backward = Operations(
        "B", -1, 0, [names], backwards - weights, _links(to_children, names, heights)
    )
    # Weight parts of a node are as many rounds late as it is less high than the root: then all
    # devices hold equally many samples (ZB-H1).
    weight = Operations("W", 1, -2 * graph.depth, [names], weights)
    split = (weight,) if schedule == "zero-bubble" else ()
    ranks = tuple(heights[name] for name in names)
    return OperationOrder(ranks, 2, samples, (backward, *split, forward))


def _heights(graph: Graph) -> dict[str, int]:
    heights: dict[str, int] = {}
    for name in reversed(graph.order):
        heights[name] = 1 + max((heights[child] for child in graph.children[name]), default=0)
    return heights


def _links(
    sources: dict[str, dict[str, float]], names: list[str], heights: dict[str, int]
) -> Links:
    place = {name: i for i, name in enumerate(names)}
    first, source, lag, latency = [0], [], [], []
    for name in names:
        for other, time in (sources[name] or {name: -np.inf}).items():
            source.append(place[other])
            lag.append(max(1, abs(heights[other] - heights[name])))
            latency.append(time)
        first.append(len(source))
    return Links(np.array(first), np.array(source), np.array(lag), np.array([latency]))


def _shared(graph: Graph, samples: int, devices: int | None) -> int:
    if graph.depth != len(graph.nodes) or len(graph.edges) != len(graph.nodes) - 1:
        raise ValueError(
            f"the interleaved schedule needs a chain, got a graph of {len(graph.nodes)} nodes, "
            f"{len(graph.edges)} edges and depth {graph.depth}"
        )
    if devices is None:
        raise ValueError("devices must be given for the interleaved schedule, got None")
    counts(devices=devices)
    for name, value in (("depth", graph.depth), ("samples", samples)):
        if value % devices:
            raise ValueError(
                f"{name} must be a multiple of devices={devices} for the interleaved schedule, "
                f"got {value}"
            )
    return devices


def _interleaved(graph: Graph, samples: int, devices: int) -> OperationOrder:
    # Device x is in round q at wave q - x. Then every operation waits for one of the wave before:
    # on the neighbour or, from chunk to chunk, at the other end of the devices.
    chunks = graph.depth // devices
    warmup = 2 * (devices - 1) + (chunks - 1) * devices + 1  # of device 0; 2 less on each further
    shape = chunks, devices
    nodes = [graph.nodes[name] for name in graph.order]
    names = [list(graph.order[c * devices : (c + 1) * devices]) for c in range(chunks)]
    forwards = np.array([node.forward for node in nodes], dtype=np.float64).reshape(shape)
    backwards = np.array([node.backward for node in nodes], dtype=np.float64).reshape(shape)
    between = [graph.edges[edge] for edge in pairwise(graph.order)]
    before = np.array([-np.inf, *between]).reshape(shape)
    after = np.array([*between, -np.inf]).reshape(shape)
    ranks = np.arange(devices)
    first, lag = np.arange(devices + 1), np.ones(devices, dtype=np.int64)
    down = Links(first, (ranks - 1) % devices, lag, before)
    up = Links(first, (ranks + 1) % devices, lag, after[::-1])  # backwards: last chunk first
    forward = Operations("F", -1, warmup, names, forwards, down)
    backward = Operations("B", 1, 0, names[::-1], backwards[::-1], up)
    return OperationOrder(tuple(range(devices)), 1, chunks * samples, (backward, forward))
