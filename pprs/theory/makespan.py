"""How long passes through a pipeline take, for unit times in closed form and for any others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pprs._arguments import finite
from pprs.theory.graph import Graph
from pprs.theory.objective import Array
from pprs.theory.orders import Ints, Kind, Links, OperationOrder, Operations, ScheduleName, order


@dataclass(frozen=True)
class Operation:
    """What a device does from `start` to `end`.

    Args:
        node: the node it works for.
        kind: `"F"` forward, `"B"` backward (of zero-bubble: its input part), `"W"` weight
            part of a backward.
        sample: which of the K passes, from 0.
        start: pipeline time.
        end: pipeline time.

    Example:
        >>> from pprs.theory import Graph, timetable
        >>> timetable(Graph.chain(2), 1, "gpipe")[0]
        Operation(node='f1', kind='F', sample=0, start=0.0, end=1.0)
    """

    node: str
    kind: Kind
    sample: int
    start: float
    end: float


def pipeline_time(samples: int, depth: int) -> int:
    r"""Time of K forward and backward passes through a chain of $\Delta$ unit-time nodes.

    $2(K + \Delta - 1)$, as in Eq. (14): the passes follow each other one unit apart. (The line
    above that equation has a slip in the sign of $\Delta$; see `docs/errata.md`.)

    Args:
        samples: number K of passes, at least 1.
        depth: number $\Delta$ of nodes, at least 1.

    Raises:
        ValueError: for numbers below 1.

    Example:
        >>> pipeline_time(samples=10, depth=20)
        58
    """
    if samples < 1 or depth < 1:
        raise ValueError(f"samples and depth must be at least 1, got {samples} and {depth}")
    return 2 * (samples + depth - 1)


def makespan(
    graph: Graph,
    samples: int,
    schedule: ScheduleName = "gpipe",
    *,
    devices: int | None = None,
    weight_share: float = 0.5,
) -> float:
    r"""Time until K forward and backward passes over a graph have ended.

    A forward pass of a node waits for those of its parents, a backward pass for those of its
    children, each for the latency of the edge besides. A device does one thing at a time, in the
    order of its schedule:

    - `"gpipe"`: all forwards, then all backwards (Huang et al. 2019).
    - `"1f1b"`: as many forwards as the height h of the node, the number of nodes on its longest
      path to a leaf, then one backward and one forward in turn (PipeDream-Flush, Narayanan et al.
      2021).
    - `"zero-bubble"`: as 1f1b, but parents wait only for the input part of a backward; the
      weight part comes $\Delta - h$ backwards later (ZB-H1, Qi et al. 2023). With forwards, input
      parts and weight parts of time 1, the makespan of a chain is
      $3K + \Delta - 1 + \max(0, \Delta - K)$, where 1f1b takes $3(K + \Delta - 1)$. With unequal
      nodes it can exceed that of 1f1b.
    - `"interleaved"`: node i of a chain is on device i modulo `devices`, so that a device has
      $v = \Delta / \text{devices}$ nodes; each round of `devices` samples goes through all of
      them before the next (Megatron-LM, Narayanan et al. 2021). For unit times, the makespan on p
      devices is $2(vK + p - 1)$; gpipe with p nodes of v times the cost takes $2v(K + p - 1)$.

    In all but the last, every node has a device of its own. On chains of unit times gpipe and 1f1b
    take `pipeline_time`.

    Args:
        graph: times and latencies, in any one unit.
        samples: number K of passes, at least 1; for interleaved, a multiple of `devices`.
        schedule: order of the operations of a device.
        devices: for interleaved only: number of devices, a divisor of the depth.
        weight_share: for zero-bubble only: part of a backward that no parent waits for, 0 to 1.

    Returns:
        The time, in the unit of the graph's.

    Raises:
        ValueError: for an argument outside its range, or a graph that is no chain if interleaved.

    Example:
        >>> graph = Graph.chain(4, forward=1, backward=2)
        >>> [makespan(graph, 8, schedule) for schedule in ("gpipe", "1f1b", "zero-bubble")]
        [33.0, 33.0, 27.0]
    """
    plan = order(graph, samples, schedule, devices, weight_share)
    with np.errstate(over="ignore"):
        free = np.zeros(len(plan.ranks))
        for _ in _timed(plan, free):
            pass
    return finite("the makespan", float(free.max()), samples=samples)


def timetable(
    graph: Graph,
    samples: int,
    schedule: ScheduleName = "gpipe",
    *,
    devices: int | None = None,
    weight_share: float = 0.5,
) -> list[Operation]:
    """All operations whose last end is the `makespan` of the same arguments, by their start.

    Those of one device are in the order in which it does them.

    Raises:
        ValueError: as `makespan`.

    Example:
        >>> [f"{o.node} {o.kind} {o.start:g}-{o.end:g}" for o in timetable(Graph.chain(2), 1)]
        ['f1 F 0-1', 'f2 F 1-2', 'f2 B 2-3', 'f1 B 3-4']
    """
    plan = order(graph, samples, schedule, devices, weight_share)
    with np.errstate(over="ignore"):
        free = np.zeros(len(plan.ranks))
        operations = [one for batch in _timed(plan, free) for one in batch.operations(plan)]
    finite("the makespan", float(free.max()), samples=samples)
    return sorted(operations, key=lambda operation: operation.start)


@dataclass(frozen=True)
class _Batch:
    """Operations of one kind and wave, with their times."""

    each: Operations
    wave: int
    devices: slice
    start: Array
    end: Array

    def operations(self, plan: OperationOrder) -> Iterator[Operation]:
        numbers = plan.numbers(self.each, self.wave, self.devices)
        chunks, samples = plan.chunks(self.each, numbers), plan.samples(self.each, numbers)
        places = range(self.devices.start, self.devices.stop)
        for chunk, place, sample, start, end in zip(
            chunks, places, samples, self.start, self.end, strict=True
        ):
            name = self.each.names[chunk][place]
            yield Operation(name, self.each.kind, int(sample), float(start), float(end))


def _timed(plan: OperationOrder, free: Array) -> Iterator[_Batch]:
    """All operations, wave by wave: each starts once nothing is left to wait for.

    `free` holds since when each device has nothing to do, and is kept up to date.
    """
    ends = {each.kind: _Ends(each.links, len(free)) for each in plan.kinds if each.links}
    for wave in plan.waves:
        for each in plan.kinds:
            devices = plan.active(each, wave)
            if devices.start >= devices.stop:
                continue
            chunks = None
            if len(each.costs) > 1:
                chunks = plan.chunks(each, plan.numbers(each, wave, devices))
            before = ends.get(each.kind)
            arrived = before.arrivals(wave, devices, chunks) if before else 0.0
            start = np.maximum(free[devices], arrived)
            end = start + _pick(each.costs, chunks, devices)
            free[devices] = end
            if before:
                before.keep(wave, devices, end)
            yield _Batch(each, wave, devices, start, end)


class _Ends:
    """When the operations of one kind ended, for as many waves as something waits for them."""

    def __init__(self, links: Links, devices: int) -> None:
        self._links = links
        self._ends = np.zeros((int(links.lag.max()) + 1, devices))
        self._back = links.source - links.lag * devices

    def keep(self, wave: int, devices: slice, end: Array) -> None:
        self._ends[wave % len(self._ends), devices] = end

    def arrivals(self, wave: int, devices: slice, chunks: Ints | None) -> Array:
        """When the last of what each device waits for has arrived."""
        rows, width = self._ends.shape
        first = self._links.first[devices.start : devices.stop + 1]
        links = slice(first[0], first[-1])
        arrived = self._ends.take(self._back[links] + wave % rows * width, mode="wrap")
        arrived += _pick(self._links.latency, chunks, links)
        if len(arrived) < len(first):  # one link each
            return arrived
        latest: Array = np.maximum.reduceat(arrived, first[:-1] - first[0])
        return latest


def _pick(table: Array, chunks: Ints | None, columns: slice) -> Array:
    if chunks is None:
        return table[0, columns]
    picked: Array = table[chunks, np.arange(columns.start, columns.stop)]
    return picked
