"""The schedules of a pipeline by name, and the processes of their stages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from pprs.pipeline.mesh import Mesh
from pprs.smoothing import Perturbation

ScheduleName: TypeAlias = Literal[
    "gpipe",
    "1f1b",
    "looped-bfs",
    "interleaved-1f1b",
    "interleaved-zero-bubble",
    "zb-v",
    "dualpipe-v",
]
"""A schedule of `torch.distributed.pipelining`, by its name here."""
Placement: TypeAlias = Literal["single", "loop", "v"]


@dataclass(frozen=True)
class Schedule:
    """A schedule.

    Args:
        class_name: of torch's class for it.
        placement: `"single"`: a process holds one stage; `"loop"`: stages go round the
            processes, several times; `"v"`: a process holds two, stages go there and back.
        splits: whether it splits a backward into those of inputs and weights.
    """

    class_name: str
    placement: Placement
    splits: bool = False

    @property
    def engine(self) -> Any:
        """Torch's class for it, which takes seconds to import."""
        from torch.distributed import pipelining

        return getattr(pipelining, self.class_name)

    def stages_of(self, rank: int, ranks: int, each: int) -> list[int]:
        """The stages that a process holds, `each` of them."""
        if self.placement == "v":
            return [rank, 2 * ranks - 1 - rank]
        return [rank + ranks * turn for turn in range(each)]

    def owners(self, ranks: int, each: int) -> list[int]:
        """The process that holds each stage."""
        owners = {s: rank for rank in range(ranks) for s in self.stages_of(rank, ranks, each)}
        return [owners[number] for number in range(len(owners))]


SCHEDULES: dict[str, Schedule] = {
    "gpipe": Schedule("ScheduleGPipe", "single"),
    "1f1b": Schedule("Schedule1F1B", "single"),
    "looped-bfs": Schedule("ScheduleLoopedBFS", "loop"),
    "interleaved-1f1b": Schedule("ScheduleInterleaved1F1B", "loop"),
    "interleaved-zero-bubble": Schedule("ScheduleInterleavedZeroBubble", "loop", splits=True),
    "zb-v": Schedule("ScheduleZBVZeroBubble", "v", splits=True),
    "dualpipe-v": Schedule("ScheduleDualPipeV", "v", splits=True),
}


def stages_each(name: str, each: int | None = None) -> int:
    """How many stages a process holds: the number asked for, or what the schedule needs.

    Raises:
        ValueError: for an unknown schedule, or a number that it cannot have.

    Example:
        >>> stages_each("1f1b"), stages_each("zb-v"), stages_each("interleaved-1f1b", 4)
        (1, 2, 4)
    """
    placement = _named(name).placement
    needed = {"single": 1, "v": 2}.get(placement)
    if each is None:
        return needed or 2
    if isinstance(each, bool) or not isinstance(each, int) or each < 1 or (needed or each) != each:
        allowed = f"exactly {needed}" if needed else "an integer of at least 1"
        raise ValueError(f"stages_per_rank must be {allowed} with schedule {name}, got {each!r}")
    return each


def check_schedule(
    name: str,
    mesh: Mesh,
    each: int,
    microbatches: int,
    *,
    samples: int | None = None,
    batch: int | None = None,
) -> Schedule:
    """The schedule, once its numbers fit.

    Args:
        name: of the schedule.
        mesh: the processes.
        each: stages of a process.
        microbatches: pieces that travel through the pipelines.
        samples: perturbations per step, if the microbatches divide these.
        batch: examples, if they divide those. With neither, what is divided is not known yet.

    Raises:
        ValueError: with the numbers and the way out, if they do not fit.
    """
    schedule, stages = _named(name), mesh.ranks * each
    what, whole = ("samples", samples) if samples is not None else ("batch", batch)
    carried = "perturbations" if what == "samples" else "examples"
    if whole is not None and whole % mesh.replicas:
        raise ValueError(
            f"{mesh.replicas} replicas share the {carried} of a step evenly, so {what} must be a "
            f"multiple of {mesh.replicas}: got {what}={whole}"
        )
    if whole is not None and (microbatches < 1 or whole % microbatches):
        raise ValueError(
            f"each microbatch carries {what}/microbatches {carried}, so microbatches must "
            f"divide {what}={whole}: got {microbatches}, possible are "
            f"{', '.join(map(str, _divisors(whole)))}"
        )
    if microbatches % mesh.replicas:
        raise ValueError(
            f"{mesh.replicas} replicas share the microbatches evenly, so microbatches must be a "
            f"multiple of {mesh.replicas}: got {microbatches}"
        )
    shared = microbatches // mesh.replicas
    if schedule.placement == "single" and shared == 1:
        return SCHEDULES["gpipe"]  # one forward, one backward: 1f1b is this one
    problem = _misfit(name, mesh.ranks, stages, shared)
    if problem:
        copies = f" in each of {mesh.replicas} replicas" if mesh.replicas > 1 else ""
        way_out = f"take {stages * mesh.replicas} or another multiple of it"
        if whole:
            others = [
                str(m)
                for m in _divisors(whole)
                if m % mesh.replicas == 0
                and not _misfit(name, mesh.ranks, stages, m // mesh.replicas)
            ]
            fits = f"{', '.join(others)} would fit" if others else f"none fits: change {what}"
            way_out = f"of the divisors of {what}={whole}, {fits}"
        raise ValueError(
            f"schedule {name} needs {problem}, got {shared} microbatches for {stages} stages"
            f"{copies}: {way_out}; or use gpipe"
        )
    return schedule


def fitting(name: str, mesh: Mesh, each: int, pieces: int) -> list[int]:
    """The numbers of microbatches, increasing, that divide the pieces and fit the schedule."""
    single, stages = _named(name).placement == "single", mesh.ranks * each
    shared = [m for m in _divisors(pieces) if m % mesh.replicas == 0]
    return [
        m
        for m in shared
        if (single and m == mesh.replicas)  # then it runs as gpipe
        or not _misfit(name, mesh.ranks, stages, m // mesh.replicas)
    ]


def ranks_for(name: str, stages: int) -> int:
    """The number of processes of a pipeline with this many stages.

    Raises:
        ValueError: if its stages cannot be shared out evenly.
    """
    each = stages_each(name)
    if stages % each:
        raise ValueError(
            f"schedule {name} puts {each} stages on a process: stages must be a multiple of "
            f"{each}, got {stages}"
        )
    return stages // each


def check_recompute(name: str, recompute: bool) -> None:
    """Raise `ValueError` for a schedule whose stages cannot be run again, where they should."""
    if recompute and _named(name).splits:
        raise ValueError(
            f"schedule {name} computes the two halves of a backward apart, which recompute=True "
            f"cannot: use another schedule"
        )


def default_microbatches(pieces: int, stages: int, replicas: int = 1, candidates: int = 1) -> int:
    """The smallest number that gives every stage of every copy a microbatch, if there is one.

    Args:
        pieces: into how many parts the perturbations can be divided; the number divides it.
        stages: of a copy.
        replicas: copies; the number is a multiple of it, where possible.
        candidates: centres that share the microbatches; likewise.
    """
    divisors = _divisors(pieces)
    shared = [m for m in divisors if m % math.lcm(replicas, candidates) == 0] or divisors
    return next((m for m in shared if m >= stages * replicas), shared[-1])


def check_pairs(perturbation: Perturbation, microbatches: int) -> None:
    """Raise `ValueError` if a microbatch would hold half of an antithetic pair."""
    each = perturbation.samples // microbatches
    if perturbation.antithetic and each % 2:
        raise ValueError(
            f"antithetic perturbations come in pairs, and each of the {microbatches} microbatches "
            f"would carry {each}: choose samples/microbatches even"
        )


def _named(name: str) -> Schedule:
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ValueError(
            f"schedule must be one of {', '.join(get_args(ScheduleName))}; got {name!r}"
        )
    return SCHEDULES[name]


def _misfit(name: str, ranks: int, stages: int, microbatches: int) -> str | None:
    """What a schedule lacks, if anything; torch checks these late or never."""
    if name in {"1f1b", "dualpipe-v"} and microbatches < stages:
        return "at least as many microbatches as stages"
    rounds = max(1, microbatches // ranks)
    if name.startswith("interleaved") and microbatches % rounds:
        return f"rounds of equally many microbatches, one or more for each of {ranks} processes"
    return None


def _divisors(number: int) -> list[int]:
    small = [m for m in range(1, math.isqrt(number) + 1) if number % m == 0]
    return sorted({*small, *(number // m for m in small)})
