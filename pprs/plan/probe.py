"""Real steps of a pipeline on this machine, and what they tell of messages."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.distributed as dist

from pprs.pipeline import Pipeline, ScheduleName
from pprs.plan.measure import Subject
from pprs.plan.predict import Machine, Setting, predict
from pprs.plan.profile import Link, Times

_MOST = 0.1  # seconds that a pass may take more


class Probe:
    """A step of a pipeline that is measured; building it and all calls are collective.

    Args:
        subject: the model and its batch.
        setting: how the step is run.
    """

    def __init__(self, subject: Subject, setting: Setting) -> None:
        self.setting = setting
        self._pipeline = Pipeline(
            subject.model,
            subject.loss,
            perturbation=subject.law(setting.samples),
            split="perturbations" if setting.samples else "examples",
            microbatches=setting.microbatches,
            schedule=cast(ScheduleName, setting.schedule),
            stages_per_rank=len(setting.cut) // dist.get_world_size(),
            example=subject.example,
            cut=[piece[0] for piece in setting.cut[1:]],
            recompute=setting.recompute,
            seed=0,
            check=False,
        )
        self._batch = subject.inputs, subject.target
        self.seconds: list[float] = []

    def take(self, *, kept: bool) -> None:
        """Take the step twice, and time the second, as long as on the slowest process.

        In training a step follows one like it; here it follows another pipeline's, which has left
        its own things in the caches.
        """
        self._pipeline.step(*self._batch)
        dist.barrier()
        start = time.perf_counter()
        self._pipeline.step(*self._batch)
        spent = torch.tensor(time.perf_counter() - start, dtype=torch.float64)
        dist.all_reduce(spent, dist.ReduceOp.MAX)
        if kept:
            self.seconds.append(spent.item())


def calibrated(times: Times, probes: Sequence[Probe], link: Link) -> Times:
    """Give a step, and passes while others are at work, the time that measured steps tell.

    Args:
        times: of the layers.
        probes: of a step with one microbatch, of one with several, and of one with several stages
            on each process, as far as the model can be cut.
        link: between the processes.

    Returns:
        The times with `step`, `beside` and `shared` of several processes.
    """
    here = Machine((1.0,) * len(probes[0].setting.cut), link)

    def missed(probe: Probe, **more: Any) -> float:
        found = predict(replace(times, **more), probe.setting, here).seconds
        return found - statistics.median(probe.seconds)

    step = times.step + max(0.0, -missed(probes[0]))
    beside = _zero(lambda seconds: missed(probes[1], step=step, beside=seconds))
    shared = beside
    if len(probes) > 2:
        shared = _zero(lambda seconds: missed(probes[2], step=step, shared=seconds))
    return replace(times, step=step, beside=beside, shared=shared)


def _zero(missed: Callable[[float], float]) -> float:
    """Where an increasing function is 0, or the end that is nearest; 0 if it is the same there."""
    low, high = 0.0, _MOST
    if missed(high) <= missed(low):
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if missed(middle) < 0 else (low, middle)
    return low if low > _MOST * 1e-9 else 0.0
