"""What each process of a schedule does one after the other: torch's own tables."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeAlias

from pprs.pipeline.schedule import SCHEDULES

Task: TypeAlias = tuple[str, int, int]
"""Kind, stage and microbatch: `"F"` forward, `"B"` backward, or its parts `"I"` and `"W"`."""


@lru_cache(maxsize=256)
def tasks(schedule: str, ranks: int, each: int, microbatches: int) -> tuple[tuple[Task, ...], ...]:
    """The tasks of each process, in order.

    Args:
        schedule: its name.
        ranks: processes.
        each: stages of a process.
        microbatches: a number that fits the schedule.

    Example:
        >>> [" ".join(f"{kind}{m}" for kind, _, m in row) for row in tasks("1f1b", 2, 1, 3)]
        ['F0 F1 B0 F2 B1 B2', 'F0 B0 F1 B1 F2 B2']
    """
    if SCHEDULES[schedule].placement == "single":
        return tuple(_single(schedule, rank, ranks, microbatches) for rank in range(ranks))
    engine = _engine(schedule, ranks, each, microbatches)
    rows = [engine._calculate_single_rank_operations(rank) for rank in range(ranks)]
    return tuple(tuple(task for action in row if action for task in _of(action)) for row in rows)


@lru_cache(maxsize=256)
def in_flight(schedule: str, ranks: int, each: int, microbatches: int) -> tuple[int, ...]:
    """The microbatches whose activations each stage keeps when its process keeps most.

    Example:
        >>> in_flight("1f1b", 3, 1, 8)
        (3, 2, 1)
    """
    if SCHEDULES[schedule].placement == "single":
        return tuple(_ahead(schedule, rank, ranks, microbatches) for rank in range(ranks))
    fullest: dict[int, int] = {}
    for row in tasks(schedule, ranks, each, microbatches):
        fullest |= _fullest(row)
    return tuple(fullest[stage] for stage in range(ranks * each))


def _fullest(row: tuple[Task, ...]) -> dict[int, int]:
    kept = {stage: 0 for _, stage, _ in row}
    most = dict(kept)
    halves = {(stage, m) for kind, stage, m in row if kind == "W"}
    for kind, stage, m in row:
        if kind == "F":
            kept[stage] += 1
            most = dict(kept) if sum(kept.values()) > sum(most.values()) else most
        elif kind == "W" or (stage, m) not in halves:
            kept[stage] -= 1
    return most


def _ahead(schedule: str, rank: int, ranks: int, microbatches: int) -> int:
    """Forward passes before the first backward, where a process holds one stage."""
    if schedule == "gpipe":
        return microbatches
    if schedule == "1f1b":
        return min(microbatches, ranks - rank)
    raise ValueError(f"no order is known of schedule {schedule}, so its time cannot be predicted")


def _single(schedule: str, rank: int, ranks: int, microbatches: int) -> tuple[Task, ...]:
    ahead = _ahead(schedule, rank, ranks, microbatches)
    row = [("F", rank, m) for m in range(ahead)]
    for m in range(microbatches):
        row.append(("B", rank, m))
        if ahead + m < microbatches:
            row.append(("F", rank, ahead + m))
    return tuple(row)


def _engine(schedule: str, ranks: int, each: int, microbatches: int) -> Any:
    """Torch's schedule without its stages, of which the order asks for numbers alone."""
    engine = object.__new__(SCHEDULES[schedule].engine)
    rounds = max(1, microbatches // ranks)
    numbers = SimpleNamespace(
        pp_group_size=ranks,
        n_local_stages=each,
        num_stages=ranks * each,
        _num_stages=ranks * each,
        _n_microbatches=microbatches,
        number_of_rounds=rounds,
        microbatches_per_round=microbatches // rounds,
        _stages=[None] * each,
    )
    vars(engine).update(vars(numbers))
    return engine


def _of(action: Any) -> list[Task]:
    if action.sub_actions:
        return [task for part in action.sub_actions for task in _of(part)]
    return [(action.computation_type.value, action.stage_index, action.microbatch_index)]
