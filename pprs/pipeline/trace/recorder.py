"""A recorder of the operations of a pipeline's stages, with their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pprs._arguments import counts
from pprs.pipeline.trace.clocks import Clock, compare
from pprs.pipeline.trace.stopwatch import Stamp, stopwatch
from pprs.pipeline.trace.timeline import Event, EventKind, Timeline


@dataclass
class _Mark:
    stage: int
    kind: EventKind
    microbatch: int
    start: Stamp
    end: Stamp


class Recorder:
    """Records the operations of one process's stages; creating it is a collective call.

    Pass it to every stage of the process, a `TimedStage`,
    and the loss through `timed_loss`;
    `gather` puts the timelines of all processes together. Only training steps are recorded,
    not evaluations.

    On CUDA nothing is synchronised while it records: times are those of events in the stream.

    Args:
        group: the processes that hold the stages; all by default.
        device: where this process computes.
        steps: how many are kept, the last ones, at least 1.
    """

    def __init__(
        self,
        *,
        group: dist.ProcessGroup | None = None,
        device: torch.device | str = "cpu",
        steps: int = 20,
    ) -> None:
        counts(steps=steps)
        self.group, self.device = group, torch.device(device)
        self._first = compare(group, self.device)
        self._stopwatch = stopwatch(self.device)
        self._steps: deque[tuple[int, list[_Mark]]] = deque(maxlen=steps)
        self._marks: list[_Mark] = []
        self._count = 0
        self._begun: set[int] = set()
        self._expected: set[tuple[int, bool, int]] = set()
        self._idle_since: Stamp | None = None

    def timed_loss(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The loss function, whose time counts for the last stage's forward."""

        @wraps(loss)
        def timed(*args: Any, **kwargs: Any) -> Tensor:
            value = loss(*args, **kwargs)
            # The engine also calls it before a first step, to learn shapes.
            if self._marks and self._marks[-1].kind == "F":
                self._idle_since = self._marks[-1].end = self._stopwatch.now()
            return value

        return timed

    def begin(self, stage: int) -> None:
        """A stage begins a step, which all stages of this process begin one after the other."""
        if stage in self._begun or not self._begun:
            self._begun.clear()
            self._expected.clear()
            self._marks = []
            self._steps.append((self._count, self._marks))
            self._count += 1
        self._begun.add(stage)

    def expect(self, stage: int, forward: bool, microbatch: int) -> None:
        """This process begins to receive what a stage needs for a microbatch."""
        self._expected.add((stage, forward, microbatch))
        self._idle_since = self._stopwatch.now()

    @contextmanager
    def operation(self, stage: int, kind: EventKind, microbatch: int) -> Iterator[None]:
        """What a stage does; and, if it expected an input for it, the wait before."""
        start = self._stopwatch.now()
        expected = (stage, kind == "F", microbatch)
        if kind != "W" and expected in self._expected and self._idle_since is not None:
            self._expected.discard(expected)
            self._marks.append(_Mark(stage, "wait", microbatch, self._idle_since, start))
        yield
        self._idle_since = end = self._stopwatch.now()
        self._marks.append(_Mark(stage, kind, microbatch, start, end))

    def starts(self, kind: EventKind) -> list[float]:
        """When this process began the last step's operations, on `time.perf_counter`'s clock."""
        self._stopwatch.finish()
        return [self._stopwatch.seconds(m.start) for m in self._marks if m.kind == kind]

    def events(self) -> tuple[list[Event], float]:
        """All that is kept, on rank 0's clock, and its uncertainty; a collective call."""
        self._stopwatch.finish()
        clock = Clock(self._first, compare(self.group, self.device))

        def common(stamp: Stamp) -> float:
            return clock.common(self._stopwatch.seconds(stamp))

        rank = dist.get_rank(self.group)
        events = [
            Event(rank, m.stage, m.kind, m.microbatch, step, common(m.start), common(m.end))
            for step, marks in self._steps
            for m in marks
        ]
        return events, clock.uncertainty + self._stopwatch.uncertainty


def gather(recorder: Recorder | None, schedule: str) -> Timeline | None:
    """The timeline of all processes of a recorder's group; a collective call.

    Args:
        recorder: of this process, if there is one.
        schedule: its name, for the reader.

    Returns:
        The timeline, from 0 at its first event, on rank 0 of the group; `None` elsewhere.

    Raises:
        RuntimeError: if nothing was to be recorded.
        ValueError: if nothing was recorded.
    """
    if recorder is None:
        raise RuntimeError("no timeline was recorded: build the Pipeline with record=20, say")
    first = dist.get_rank(recorder.group) == 0
    parts: list[Any] | None = [None] * dist.get_world_size(recorder.group) if first else None
    dist.gather_object(recorder.events(), parts, group=recorder.group, group_dst=0)
    if parts is None:
        return None
    events = sorted((e for some, _ in parts for e in some), key=lambda e: e.start)
    if not events:
        raise ValueError("nothing was recorded: a recorder's stages have made no step")
    return Timeline(
        events=tuple(_since(events[0].start, e) for e in events),
        schedule=schedule,
        stages=1 + max(e.stage for e in events),
        microbatches=1 + max(e.microbatch for e in events),
        # Two ranks may both be off, in opposite directions.
        uncertainty=sum(sorted(uncertainty for _, uncertainty in parts)[-2:]),
    )


def _since(origin: float, e: Event) -> Event:
    start, end = (round((seconds - origin) * 1e9) / 1e9 for seconds in (e.start, e.end))
    return Event(e.rank, e.stage, e.kind, e.microbatch, e.step, start, end)
