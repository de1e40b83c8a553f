"""The shares of a step's time, and the time that its operations need in their order."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from pprs.pipeline.trace.timeline import Event, Timeline

Operation: TypeAlias = tuple[str, int, int]  # kind, stage, microbatch


@dataclass(frozen=True)
class Share:
    """Parts of the steps' time, each 0 to 1; those of a rank add up to 1.

    Args:
        busy: it computed.
        bubble: what it needed next was not computed yet, or it had nothing left to do.
        communication: what it needed next had been computed by another rank, and had not arrived or
            not been picked up.
        other: it could have gone on: the engine, or waiting for what it had sent to be received.

    Example:
        >>> Share(0.5, 0.25, 0.25, 0.0) + Share(0.25, 0.5, 0.25, 0.0)
        Share(busy=0.75, bubble=0.75, communication=0.5, other=0.0)
    """

    busy: float
    bubble: float
    communication: float
    other: float

    def in_percent(self) -> list[str]:
        """Its parts, in the order of the fields, as a table shows them."""
        parts = self.busy, self.bubble, self.communication, self.other
        return [f"{part:.1%}" for part in parts]

    def __add__(self, more: Share) -> Share:
        return Share(
            self.busy + more.busy,
            self.bubble + more.bubble,
            self.communication + more.communication,
            self.other + more.other,
        )


@dataclass(frozen=True)
class StageShare:
    """What a stage did with the steps' time.

    Args:
        stage: which, from 0.
        rank: who holds it.
        share: idle time counts for the stage that works next on its rank.
        forward: median seconds of a forward.
        backward: median seconds of a backward, both parts together if it is split.

    Example:
        >>> done = StageShare(
        ...     stage=0, rank=0, share=Share(0.8, 0.1, 0.1, 0.0), forward=0.012, backward=0.025
        ... )
        >>> done.share.busy
        0.8
    """

    stage: int
    rank: int
    share: Share
    forward: float
    backward: float


@dataclass(frozen=True)
class Shares:
    """What the steps' time went into.

    Args:
        steps: which were looked at.
        seconds: median time of a step, from the start of its first operation to the end of its
            last, over all ranks.
        ideal: seconds that the same operations take in the same order on each rank, each for the
            median time of its kind and stage, if nothing but they took time.
        stages: by stage.
        ranks: by rank, the sums over their stages.

    Example:
        >>> from pprs.pipeline.trace import Event
        >>> events = [Event(0, 0, "F", 0, 0, 0.0, 1.0), Event(0, 0, "B", 0, 0, 1.0, 4.0)]
        >>> timeline = Timeline(tuple(events), "gpipe", stages=1, microbatches=1, uncertainty=0.0)
        >>> shares(timeline).efficiency
        1.0
    """

    steps: tuple[int, ...]
    seconds: float
    ideal: float
    stages: tuple[StageShare, ...]
    ranks: Mapping[int, Share]

    @property
    def efficiency(self) -> float:
        """Ideal over measured time; 1 is the best there is, but for the noise of medians."""
        return self.ideal / self.seconds


def shares(timeline: Timeline, steps: Sequence[int] | None = None) -> Shares:
    """What the time of a timeline's steps went into.

    A rank is idle between its operations. Up to when the input of the next one had been computed,
    by whichever rank, this is bubble; from then on it is communication.

    Args:
        timeline: of complete steps.
        steps: which; all but the first, which warms up, or the only one by default.

    Returns:
        Shares of all those steps together. For the schedules that `pprs.theory.makespan` knows,
        `ideal` is its value on a chain of the medians without latency.

    Raises:
        ValueError: for a step that is not in the timeline, lacks an operation, or takes no time.

    Example:
        >>> from pprs.pipeline.trace import Event
        >>> events = [Event(0, 0, "F", 0, 0, 0.0, 1.0), Event(0, 0, "B", 0, 0, 1.0, 4.0)]
        >>> timeline = Timeline(tuple(events), "gpipe", stages=1, microbatches=1, uncertainty=0.0)
        >>> found = shares(timeline)
        >>> found.seconds, found.stages[0].share.busy
        (4.0, 1.0)
    """
    chosen = tuple(timeline.steps[1:] or timeline.steps if steps is None else steps)
    if not chosen:
        raise ValueError("steps must name at least one step, got none")
    operations = {step: timeline.operations(step) for step in chosen}
    for step, some in operations.items():
        _check_complete(timeline, step, some)
    spent: defaultdict[tuple[int, int], _Spent] = defaultdict(_Spent)
    for some in operations.values():
        _account(some, spent)
    spans = [_end(some) - some[0].start for some in operations.values()]
    if not min(spans) > 0:
        raise ValueError("the operations of a step take no time")
    everything = [e for some in operations.values() for e in some]
    parts = {place: found.share(sum(spans)) for place, found in spent.items()}
    none = Share(0.0, 0.0, 0.0, 0.0)
    return Shares(
        steps=chosen,
        seconds=statistics.median(spans),
        ideal=replay(operations[chosen[-1]], _medians(everything)),
        stages=tuple(
            StageShare(stage, rank, part, *_passes(everything, stage))
            for (stage, rank), part in sorted(parts.items())
        ),
        ranks={
            rank: sum((part for (_, r), part in parts.items() if r == rank), none)
            for rank in timeline.ranks
        },
    )


def replay(operations: Sequence[Event], costs: Mapping[tuple[str, int], float]) -> float:
    """The time that operations take in their order on each rank, if only they took time.

    Args:
        operations: of one step, by their start.
        costs: seconds, by kind and stage.

    Returns:
        Seconds until the last one has ended.

    Raises:
        ValueError: for an order in which ranks would wait for each other forever.
    """
    left = {
        rank: [e for e in operations if e.rank == rank] for rank in {e.rank for e in operations}
    }
    ends: dict[Operation, float] = {}
    free = dict.fromkeys(left, 0.0)
    stages = 1 + max(e.stage for e in operations)
    while any(left.values()):
        ready = [r for r, some in left.items() if some and _arrived(some[0], stages, ends)]
        if not ready:
            raise ValueError("the operations wait for each other in a circle")
        for rank in ready:
            e = left[rank].pop(0)
            source = _source(e, stages)
            start = max(free[rank], ends[source] if source else 0.0)
            free[rank] = ends[_name(e)] = start + costs[e.kind, e.stage]
    return max(free.values())


@dataclass
class _Spent:
    """Seconds."""

    busy: float = 0.0
    bubble: float = 0.0
    communication: float = 0.0
    other: float = 0.0

    def share(self, whole: float) -> Share:
        return Share(*(s / whole for s in (self.busy, self.bubble, self.communication, self.other)))


def _account(operations: Sequence[Event], spent: Mapping[tuple[int, int], _Spent]) -> None:
    """Add up what the ranks did in a step."""
    done = {_name(e): e for e in operations}
    stages = 1 + max(e.stage for e in operations)
    start, end = operations[0].start, _end(operations)
    for rank in {e.rank for e in operations}:
        free, found = start, _Spent()
        for e in (e for e in operations if e.rank == rank):
            found = spent[e.stage, rank]
            found.busy += e.seconds
            source = _source(e, stages)
            _idle(free, e, done[source] if source else None, found)
            free = max(free, e.end)
        found.bubble += end - free


def _idle(free: float, e: Event, source: Event | None, found: _Spent) -> None:
    """Add up what a rank waited for before an operation."""
    if e.start <= free:
        return
    # Clocks that disagree may show an input as computed after it was used.
    known = min(max(free, source.end if source else free), e.start)
    found.bubble += known - free
    if source and source.rank != e.rank:
        found.communication += e.start - known
    else:
        found.other += e.start - known


def _name(e: Event) -> Operation:
    # Whoever waits for a gradient does not care whether the weights' part was split off.
    return "B" if e.kind == "I" else e.kind, e.stage, e.microbatch


def _source(e: Event, stages: int) -> Operation | None:
    """What an operation waits for, if anything."""
    if e.kind == "F":
        return ("F", e.stage - 1, e.microbatch) if e.stage else None
    if e.kind == "W":
        return "B", e.stage, e.microbatch
    last = e.stage == stages - 1
    return ("F", e.stage, e.microbatch) if last else ("B", e.stage + 1, e.microbatch)


def _arrived(e: Event, stages: int, ends: Mapping[Operation, float]) -> bool:
    source = _source(e, stages)
    return source is None or source in ends


def _end(operations: Iterable[Event]) -> float:
    return max(e.end for e in operations)


def _medians(operations: Iterable[Event]) -> dict[tuple[str, int], float]:
    times = defaultdict(list)
    for e in operations:
        times[e.kind, e.stage].append(e.seconds)
    return {what: statistics.median(some) for what, some in times.items()}


def _passes(operations: Iterable[Event], stage: int) -> tuple[float, float]:
    """Median seconds of a stage's forwards, and of its backwards."""
    times: defaultdict[tuple[bool, int, int], float] = defaultdict(float)
    for e in operations:
        if e.stage == stage:
            times[e.kind == "F", e.step, e.microbatch] += e.seconds
    forward, backward = (
        statistics.median(t for (kind, *_), t in times.items() if kind == forwards)
        for forwards in (True, False)
    )
    return forward, backward


def _check_complete(timeline: Timeline, step: int, operations: Iterable[Event]) -> None:
    there = {(e.kind, e.stage, e.microbatch) for e in operations}
    for stage, microbatch in product(range(timeline.stages), range(timeline.microbatches)):
        split = ("I", stage, microbatch) in there
        for kind in ("F", "I", "W") if split else ("F", "B"):
            if (kind, stage, microbatch) not in there:
                raise ValueError(f"step {step} lacks {kind} {microbatch} of stage {stage}")
