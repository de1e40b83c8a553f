"""The orders in which a pipeline runs its microbatches, by name."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from torch.distributed.pipelining import Schedule1F1B, ScheduleGPipe
from torch.distributed.pipelining.schedules import PipelineScheduleSingle

from pprs.smoothing import Law

ScheduleName: TypeAlias = Literal["gpipe", "1f1b"]

_SCHEDULES: dict[str, type[PipelineScheduleSingle]] = {
    "gpipe": ScheduleGPipe,
    "1f1b": Schedule1F1B,
}


def schedule_class(
    name: str, stages: int, samples: int, microbatches: int
) -> type[PipelineScheduleSingle]:
    """The engine's class for a schedule, once its numbers fit.

    Args:
        name: ``"gpipe"`` (all forwards, then all backwards) or ``"1f1b"`` (in turn, keeping at most
            ``stages`` microbatches in memory).
        stages: number of stages, at least 1.
        samples: perturbations per step.
        microbatches: pieces that travel through the pipeline; each carries
            ``samples / microbatches`` perturbations of the batch.

    Raises:
        ValueError: with the numbers and the way out, if they do not fit.
    """
    if name not in _SCHEDULES:
        raise ValueError(
            f"schedule must be one of {', '.join(get_args(ScheduleName))}; got {name!r}"
        )
    if microbatches < 1 or samples % microbatches:
        divisors = [str(m) for m in range(1, samples + 1) if samples % m == 0]
        raise ValueError(
            f"each microbatch carries samples/microbatches perturbations, so microbatches must "
            f"divide samples={samples}: got {microbatches}, possible are {', '.join(divisors)}"
        )
    if microbatches == 1:
        return ScheduleGPipe  # one forward, one backward: every schedule is this one
    if name == "1f1b" and microbatches < stages:
        raise ValueError(
            f"schedule 1f1b needs at least as many microbatches as stages, got {microbatches} "
            f"microbatches for {stages} stages: raise microbatches (a divisor of "
            f"samples={samples}), or use gpipe"
        )
    return _SCHEDULES[name]


def default_microbatches(samples: int, stages: int) -> int:
    """The smallest divisor of ``samples`` that gives every stage a microbatch; else ``samples``."""
    return next(m for m in range(1, samples + 1) if samples % m == 0 and m >= min(stages, samples))


def check_pairs(law: Law, microbatches: int) -> None:
    """Raise ``ValueError`` if a microbatch would tear an antithetic pair apart."""
    each = law.samples // microbatches
    if law.antithetic and each % 2:
        raise ValueError(
            f"antithetic perturbations come in pairs, and each of the {microbatches} microbatches "
            f"would carry {each}: choose samples/microbatches even"
        )
