"""What a step of one configuration takes: its schedule, simulated with costs and links."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from pprs._arguments import counts, non_negative, positive
from pprs.pipeline.schedule import SCHEDULES
from pprs.plan.orders import Task, in_flight, tasks
from pprs.plan.profile import Floats, Link, Times
from pprs.theory import Graph, makespan

Cut: TypeAlias = tuple[range, ...]
_ROUNDS = 6  # in which times and what goes on beside them are made to agree


@dataclass(frozen=True)
class Machine:
    """Where a pipeline runs.

    Args:
        speeds: of the devices, one for each process, relative to what was measured.
        link: between neighbours.
        memory: bytes that each has.
        optimizer: bytes of the optimizer's state for each byte of parameters: 2 for Adam.
    """

    speeds: tuple[float, ...]
    link: Link = field(default_factory=Link)
    memory: float = math.inf
    optimizer: float = 2.0

    def __post_init__(self) -> None:
        if not self.speeds:
            raise ValueError("speeds must name at least one device, got none")
        for speed in self.speeds:
            positive(speeds=speed)
        if not self.memory > 0:
            raise ValueError(f"memory must be a number of bytes above 0, got {self.memory!r}")
        non_negative(optimizer=self.optimizer)


@dataclass(frozen=True)
class Setting:
    """How a step is run.

    Args:
        schedule: its name.
        cut: the layers of each stage, in order.
        samples: K; 0 for a plain gradient.
        microbatches: M.
        rows: of a microbatch: examples times the perturbations that run together.
        recompute: run each stage again for its backward.
    """

    schedule: str
    cut: Cut
    samples: int
    microbatches: int
    rows: int
    recompute: bool = False

    def __post_init__(self) -> None:
        counts(microbatches=self.microbatches, rows=self.rows)


@dataclass(frozen=True)
class Prediction:
    """What a step takes.

    Args:
        setting: how it is run.
        seconds: of a step.
        bubble: part of all devices' time in which they do not compute, 0 to 1.
        memory: bytes, at the fullest moment of each device.
    """

    setting: Setting
    seconds: float
    bubble: float
    memory: tuple[float, ...]

    def fits(self, machine: Machine) -> bool:
        """Whether every device has the memory."""
        return max(self.memory) <= machine.memory


@dataclass(frozen=True)
class Stages:
    """What the stages take for a microbatch.

    Args:
        forward: seconds of each, shape `(stages,)`, on a device of speed 1.
        backward: the same; with the forward again where it is run again.
        weight: part of a backward that nothing waits for, 0 to 1.
        output: bytes sent to the next stage, shape `(stages - 1,)`; as many come back.
        parameters: bytes of each.
        kept: bytes for each microbatch in flight.
        peak: bytes more, while it computes.
    """

    forward: Floats
    backward: Floats
    weight: float
    output: Floats
    parameters: Floats
    kept: Floats
    peak: Floats

    @classmethod
    def of(cls, times: Times, setting: Setting) -> Stages:
        """Those of a setting, from what was measured of its kind of pass."""
        bounds = [*(piece[0] for piece in setting.cut), len(times.layers)]
        rows = setting.rows

        def each(what: str) -> Floats:
            seconds = np.diff(times.sums(what, rows)[bounds]) + getattr(times.around, what).at(rows)
            seconds[-1] += getattr(times.loss, what).at(rows)
            return np.asarray(seconds)

        forward, backward, kept = each("forward"), each("backward"), each("activations")
        sums = times.sums("output", rows)
        output = np.diff(sums)[np.array(bounds[1:-1], dtype=np.int64) - 1]
        parameters = np.diff(times.sums("parameters", rows)[bounds])
        if setting.recompute:
            arrives = np.append(0.0, output)
            return cls(forward, backward + forward, 0.0, output, parameters, arrives, kept)
        return cls(
            *(forward, backward, times.weight_share, output, parameters, kept),
            np.zeros(len(kept)),
        )

    def on(self, speeds: Sequence[float]) -> Stages:
        """The same on devices of these speeds, one for each stage."""
        fast = np.asarray(speeds)
        return replace(self, forward=self.forward / fast, backward=self.backward / fast)

    def seconds(self, kind: str, stage: int) -> float:
        """How long a task takes."""
        if kind == "F":
            return float(self.forward[stage])
        parts = {"B": 1.0, "I": 1 - self.weight, "W": self.weight}
        return float(parts[kind] * self.backward[stage])


def predict(times: Times, setting: Setting, machine: Machine) -> Prediction:
    """The time and memory of a step.

    Args:
        times: of the layers, in passes of the setting's kind.
        setting: how it is run.
        machine: where; it has a device for each process.

    Raises:
        ValueError: if the stages do not fit the devices.
    """
    devices = len(machine.speeds)
    each, rest = divmod(len(setting.cut), devices)
    if rest or not each:
        raise ValueError(f"{len(setting.cut)} stages cannot be shared evenly by {devices} devices")
    schedule, m = SCHEDULES[setting.schedule], setting.microbatches
    owners = schedule.owners(devices, each) if each > 1 else list(range(devices))
    stages = Stages.of(times, setting).on([machine.speeds[rank] for rank in owners])
    single = schedule.placement == "single"
    more = times.beside if single else times.shared
    # Messages are always asked for ahead where a process has several stages.
    link = machine.link if single else replace(machine.link, overlaps=True)
    busy = m * float(stages.forward.sum() + stages.backward.sum())
    if single and times.alone == 1 and not more:
        span = _makespan(stages, setting, link)
    else:
        rows = tasks(setting.schedule, devices, each, m)
        span, busy = simulate(stages, owners, rows, link, times.alone, more)
    span = float(span) + times.step + _once(times, stages, m, owners)
    bubble = max(0.0, 1 - busy / (span * devices)) if span else 0.0
    held = (2 + machine.optimizer) * stages.parameters + stages.kept * np.array(
        in_flight(setting.schedule, devices, each, m)
    )
    memory = np.bincount(owners, held + stages.peak)
    return Prediction(setting, span, bubble, tuple(memory.tolist()))


def simulate(
    stages: Stages,
    owners: Sequence[int],
    rows: Sequence[Sequence[Task]],
    link: Link,
    alone: float = 1.0,
    more: float = 0.0,
) -> tuple[float, float]:
    """Seconds until all tasks have ended, and in which devices work, all of them together.

    Args:
        stages: what each takes on its device.
        owners: the device of each.
        rows: the tasks of each device, in order.
        link: between the devices.
        alone: how much of its time a task takes while the other devices do nothing.
        more: seconds that it takes more while they all work.

    Raises:
        ValueError: for tasks that wait for each other.
    """
    costs = [[stages.seconds(kind, stage) for kind, stage, _ in row] for row in rows]
    sent = [link.seconds(size) for size in stages.output]
    starts, ends = _timed(sent, owners, rows, link.overlaps, costs)
    if (alone < 1 or more) and len(rows) > 1:
        for _ in range(_ROUNDS):
            beside = _beside(starts, ends)
            slowed = [
                [
                    cost * (alone + (1 - alone) * share) + more * share
                    for cost, share in zip(*pair, strict=True)
                ]
                for pair in zip(costs, beside, strict=True)
            ]
            starts, ends = _timed(sent, owners, rows, link.overlaps, slowed)
    busy = sum(sum(end) - sum(start) for start, end in zip(starts, ends, strict=True))
    return max(row[-1] for row in ends), busy


def _once(times: Times, stages: Stages, microbatches: int, owners: Sequence[int]) -> float:
    """Seconds that a step takes more, or less, than as many equal passes."""
    total = float(stages.parameters.sum())
    share = stages.parameters / total if total else np.zeros(len(owners))
    saved = np.minimum(times.first * share, stages.backward)
    if microbatches == 1:
        return -float(saved.sum())  # every backward is a first one
    slowest = owners[int((stages.forward + stages.backward).argmax())]
    there, ends_last = np.equal(owners, slowest), np.equal(owners, owners[0])
    return float(times.several * share[ends_last].sum() - saved[there].sum())


def _makespan(stages: Stages, setting: Setting, link: Link) -> float:
    """As `simulate`, for one stage on each device."""
    sent = link.latency + stages.output / link.bandwidth
    waits = np.zeros(len(sent)) if link.overlaps else sent
    forward = stages.forward + np.append(0.0, waits)
    backward = stages.backward + np.append(waits, 0.0)
    if setting.schedule == "gpipe":  # all forwards, then all backwards: each as fast as the slowest
        more = (setting.microbatches - 1) * (forward.max() + backward.max())
        return float(forward.sum() + backward.sum() + 2 * (sent - waits).sum() + more)
    graph = Graph.chain(len(forward), forward.tolist(), backward.tolist(), (sent - waits).tolist())
    return makespan(graph, setting.microbatches, "1f1b")


def _timed(
    sent: Sequence[float],
    owners: Sequence[int],
    rows: Sequence[Sequence[Task]],
    overlaps: bool,
    costs: Sequence[Sequence[float]],
) -> tuple[list[list[float]], list[list[float]]]:
    """When each task starts and ends.

    Args:
        sent: seconds of a message between each stage and the next.
        owners: the device of each stage.
        rows: the tasks of each device, in order.
        overlaps: whether a message is under way while its receiver works.
        costs: seconds of each task.
    """
    starts: list[list[float]] = [[] for _ in rows]
    ends: list[list[float]] = [[] for _ in rows]
    done: dict[tuple[str, int, int], float] = {}
    waiting = list(range(len(rows)))
    while waiting:
        before = len(done)
        for rank in waiting:
            for place in range(len(ends[rank]), len(rows[rank])):
                kind, stage, m = rows[rank][place]
                source, edge = _source(kind, stage, m, len(owners) - 1)
                if source and source not in done:
                    break
                start = ends[rank][-1] if place else 0.0
                if source:
                    under_way = sent[edge] if owners[source[1]] != rank else 0.0
                    ready = done[source]
                    start = (
                        max(start, ready + under_way)
                        if overlaps
                        else (max(start, ready) + under_way)
                    )
                starts[rank].append(start)
                ends[rank].append(start + costs[rank][place])
                done["B" if kind == "I" else kind, stage, m] = ends[rank][-1]
        waiting = [rank for rank in waiting if len(ends[rank]) < len(rows[rank])]
        if waiting and len(done) == before:
            raise ValueError("the tasks wait for each other in a circle")
    return starts, ends


def _source(kind: str, stage: int, m: int, last: int) -> tuple[tuple[str, int, int] | None, int]:
    """What a task waits for, and over which link."""
    if kind == "W" or (kind == "F" and stage == 0):
        return None, 0
    if kind == "F":
        return ("F", stage - 1, m), stage - 1
    return (("F", stage, m), 0) if stage == last else (("B", stage + 1, m), stage)


def _beside(
    starts: Sequence[Sequence[float]], ends: Sequence[Sequence[float]]
) -> list[list[float]]:
    """The part of the other devices that are at work beside each task, 0 to 1."""
    edges = np.unique([t for row in (*starts, *ends) for t in row])
    busy = [_busy(begin, end, edges) for begin, end in zip(starts, ends, strict=True)]
    total = np.sum(busy, axis=0)
    found = []
    for begin, end, own in zip(starts, ends, busy, strict=True):
        first, last = np.searchsorted(edges, begin), np.searchsorted(edges, end)
        length = np.maximum(np.subtract(end, begin), 1e-12)
        others = (total - own)[last] - (total - own)[first]
        found.append([float(x) for x in others / length / (len(starts) - 1)])
    return found


def _busy(begin: Sequence[float], end: Sequence[float], edges: Floats) -> Floats:
    """The time that a device has worked up to each edge."""
    marks = np.ravel(np.column_stack([begin, end]))
    worked = np.repeat(np.cumsum(np.subtract(end, begin)), 2)
    worked[::2] -= np.subtract(end, begin)
    return np.asarray(np.interp(edges, marks, worked))
