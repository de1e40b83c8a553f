"""The operations of all processes with their times, as a file that trace viewers open."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pprs._arguments import counts, non_negative

EventKind: TypeAlias = Literal["F", "B", "I", "W", "wait"]
_FORMAT = "pprs timeline 1"


@dataclass(frozen=True)
class Event:
    """An operation of a rank, or a wait, from `start` to `end`.

    Args:
        rank: the process, from 0.
        stage: the stage that it worked for, from 0.
        kind: `"F"` forward, on the last stage with the loss; `"B"` backward; `"I"` and
            `"W"` its input and weight parts, where a schedule splits it; `"wait"` idle until an
            input arrived. Stage 0 has no input to differentiate by: its I is empty.
        microbatch: which, from 0.
        step: of the run, from 0.
        start: seconds on the one clock of the timeline.
        end: the same, at least `start`.

    Raises:
        ValueError: for a field of the wrong type or outside its range.
    """

    rank: int
    stage: int
    kind: EventKind
    microbatch: int
    step: int
    start: float
    end: float

    def __post_init__(self) -> None:
        for name in ("rank", "stage", "microbatch", "step"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} must be an integer of at least 0, got {value!r}")
        if self.kind not in get_args(EventKind):
            known = ", ".join(get_args(EventKind))
            raise ValueError(f"kind must be one of {known}; got {self.kind!r}")
        for name in ("start", "end"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        if self.end < self.start:
            raise ValueError(f"end must be at least start={self.start!r}, got {self.end!r}")

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True)
class Timeline:
    """The events of all ranks.

    Args:
        events: those of one rank do not overlap.
        schedule: its name.
        stages: how many the network is cut into.
        microbatches: how many a step has.
        uncertainty: seconds by which the times of two ranks may be off against each other.

    Raises:
        ValueError: for no events, numbers that are not theirs, or an operation that is there twice.

    Example:
        >>> events = [Event(0, 0, "F", 0, 0, 0.0, 1.0), Event(0, 0, "B", 0, 0, 1.0, 3.0)]
        >>> timeline = Timeline(tuple(events), "gpipe", stages=1, microbatches=1, uncertainty=0.0)
        >>> [event.seconds for event in timeline.operations(step=0)]
        [1.0, 2.0]
    """

    events: tuple[Event, ...]
    schedule: str
    stages: int
    microbatches: int
    uncertainty: float

    def __post_init__(self) -> None:
        counts(stages=self.stages, microbatches=self.microbatches)
        non_negative(uncertainty=self.uncertainty)
        if not self.events:
            raise ValueError("events must hold at least one event, got none")
        for name, place in (("stages", "stage"), ("microbatches", "microbatch")):
            largest, value = max(getattr(e, place) for e in self.events), getattr(self, name)
            if value != largest + 1:
                raise ValueError(f"{name} must be {largest + 1}, as in the events, got {value!r}")
        if max(self.ranks) >= self.stages:
            raise ValueError(
                f"rank must be below stages={self.stages}, as each holds one: got {max(self.ranks)}"
            )
        seen: set[tuple[str, int, int, int]] = set()
        for e in self.events:
            operation = (e.kind, e.stage, e.microbatch, e.step)
            if e.kind != "wait" and operation in seen:
                raise ValueError(
                    f"{e.kind} {e.microbatch} of stage {e.stage} in step {e.step} is there twice"
                )
            seen.add(operation)

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """The steps that there are events of."""
        return tuple(sorted({e.step for e in self.events}))

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """The ranks that there are events of."""
        return tuple(sorted({e.rank for e in self.events}))

    def operations(self, step: int) -> list[Event]:
        """All but the waits of a step, by their start.

        Raises:
            ValueError: if there are no events of this step.
        """
        if step not in self.steps:
            known = f"{self.steps[0]} to {self.steps[-1]}"
            raise ValueError(f"step must be one of the timeline's, {known}, got {step!r}")
        some = (e for e in self.events if e.step == step and e.kind != "wait")
        return sorted(some, key=lambda e: e.start)

    def save(self, file: Path | str) -> None:
        """Write a Chrome trace: JSON that Perfetto and chrome://tracing open.

        Ranks are its processes, stages its threads, times are microseconds. Times are kept to the
        nanosecond.
        """
        written = {
            "traceEvents": [*_names(self.events), *map(_as_json, self.events)],
            "displayTimeUnit": "ms",
            "otherData": {
                "format": _FORMAT,
                "schedule": self.schedule,
                "stages": self.stages,
                "microbatches": self.microbatches,
                "uncertainty": self.uncertainty,
            },
        }
        Path(file).write_text(json.dumps(written), encoding="utf-8")

    @classmethod
    def load(cls, file: Path | str) -> Timeline:
        """Read what `save` has written.

        Raises:
            ValueError: with the reason, if the file cannot be read or is no such file.
        """
        try:
            return _timeline(json.loads(Path(file).read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"cannot read {file}: {error.strerror}") from error
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{file} is no timeline: it is not JSON, {error}") from error
        except ValueError as error:
            raise ValueError(f"{file} is no timeline: {error}") from error


def _names(events: Iterable[Event]) -> list[dict[str, Any]]:
    places = sorted({(e.rank, e.stage) for e in events})
    processes = [
        {"ph": "M", "name": "process_name", "pid": rank, "args": {"name": f"rank {rank}"}}
        for rank in sorted({rank for rank, _ in places})
    ]
    threads = [
        {
            "ph": "M",
            "name": "thread_name",
            "pid": rank,
            "tid": stage,
            "args": {"name": f"stage {stage}"},
        }
        for rank, stage in places
    ]
    return [*processes, *threads]


def _as_json(event: Event) -> dict[str, Any]:
    # Whole nanoseconds, so that what is read back is what was written.
    start, end = round(event.start * 1e9), round(event.end * 1e9)
    return {
        "ph": "X",
        "name": f"{event.kind} {event.microbatch}",
        "cat": event.kind,
        "pid": event.rank,
        "tid": event.stage,
        "ts": start / 1e3,
        "dur": (end - start) / 1e3,
        "args": {"step": event.step, "microbatch": event.microbatch},
    }


def _timeline(written: Any) -> Timeline:
    data = _field(written, "otherData", dict, "the file")
    form = _field(data, "format", str, "otherData")
    if form != _FORMAT:
        raise ValueError(f"its format must be {_FORMAT!r}, got {form!r}")
    entries = _field(written, "traceEvents", list, "the file")
    return Timeline(
        events=tuple(_event(e) for e in entries if _field(e, "ph", str, "an event") == "X"),
        schedule=_field(data, "schedule", str, "otherData"),
        stages=_field(data, "stages", int, "otherData"),
        microbatches=_field(data, "microbatches", int, "otherData"),
        uncertainty=_number(data, "uncertainty", "otherData"),
    )


def _event(entry: Mapping[str, Any]) -> Event:
    args = _field(entry, "args", dict, "an event")
    start, length = _number(entry, "ts", "an event"), _number(entry, "dur", "an event")
    nanoseconds = round(start * 1e3)
    return Event(
        rank=_field(entry, "pid", int, "an event"),
        stage=_field(entry, "tid", int, "an event"),
        kind=_field(entry, "cat", str, "an event"),
        microbatch=_field(args, "microbatch", int, "an event's args"),
        step=_field(args, "step", int, "an event's args"),
        start=nanoseconds / 1e9,
        end=(nanoseconds + round(length * 1e3)) / 1e9,
    )


def _number(container: Any, name: str, where: str) -> float:
    value = _field(container, name, (int, float), where)
    # Beyond this, nanoseconds do not fit in a floating-point number.
    if not abs(value) < 1e15:
        raise ValueError(f"{name!r} of {where} is out of range: {value!r}")
    return float(value)


def _field(container: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(container, dict):
        raise ValueError(f"{where} must be an object, got {type(container).__name__}")
    if name not in container:
        raise ValueError(f"{where} lacks {name!r}")
    value = container[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name!r} of {where} must not be {type(value).__name__}")
    return value
