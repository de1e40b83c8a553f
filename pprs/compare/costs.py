"""What a step of each method costs, measured before anything is trained."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.distributed as dist

from pprs.compare.config import CompareConfig
from pprs.compare.memory import peak_memory
from pprs.compare.methods import METHODS, MethodName
from pprs.compare.run import BUDGETS, Budget, Training
from pprs.compare.subject import Facts, Subject
from pprs.pipeline.communication import broadcast, gathered
from pprs.theory import pipeline_time

_WARM_UP = 2
_LEAST, _MOST, _SECONDS = 3, 15, 1.0  # rounds that are kept, and how long all of them may take


@dataclass(frozen=True)
class Cost:
    """Of a method.

    Args:
        step: seconds of a step.
        memory: bytes of a step at its fullest moment, beyond parameters and the optimizer's state.
        other: seconds to measure the metric.
        start: seconds until the first step.
    """

    step: float
    memory: int
    other: float
    start: float


def measured(
    subject: Subject, begins: Callable[[str], None], alone: dist.ProcessGroup | None = None
) -> dict[MethodName, Cost]:
    """Take steps of all methods in turn, so that all have the same machine; a collective call.

    Args:
        subject: what is trained.
        begins: is told what does, before it does; what it raises ends the measuring.
        alone: a group of this process only, if it takes steps of its own.

    Returns:
        Medians, the same in all processes.
    """
    config = subject.config
    parts = subject.parts(config.seed)
    runs: dict[MethodName, Training] = {}
    starts: list[float] = []
    for method in config.compared:
        begins(f"preparing {config.label(method)}")
        start = time.perf_counter()
        setting = config.candidates(method, 1)[0]
        steps = _MOST + _WARM_UP + 1
        settings = config.training(method, setting, steps, config.seed, checks=True)
        runs[method] = Training(subject, settings, parts, alone)
        starts.append(time.perf_counter() - start)

    def taken(number: int) -> dict[MethodName, float]:
        seconds = {}
        for method, run in runs.items():
            begins(f"step {number + 1} of {config.label(method)}")
            seconds[method] = _seconds(run, number)
        return seconds

    for number in range(_WARM_UP):
        took = taken(number)
    rounds = broadcast(min(_MOST, max(_LEAST, round(_SECONDS / sum(took.values())))), 0)
    times = [taken(number) for number in range(_WARM_UP, _WARM_UP + rounds)]
    costs = {
        method: Cost(
            statistics.median(seconds[method] for seconds in times),
            _memory(run, _WARM_UP + rounds),
            _other(run),
            min(starts),  # in the first the model may have been traced
        )
        for method, run in runs.items()
    }
    shared: dict[MethodName, Cost] = broadcast(costs, 0)
    return shared


def ends(
    config: CompareConfig, found: Facts, costs: Mapping[MethodName, Cost], steps: int
) -> dict[MethodName, dict[Budget, int]]:
    """The steps that each budget pays for: what so many steps of the plain optimizer take.

    Raises:
        ValueError: if the pipeline time does not pay for a step.
    """
    plain = {"pipeline_time": pipeline_time(1, found.depth), "seconds": costs["plain"].step}
    paid: dict[MethodName, dict[Budget, int]] = {}
    for method in config.compared:
        samples = config.samples_of(method)
        each = {"pipeline_time": pipeline_time(samples, found.depth), "seconds": costs[method].step}
        if METHODS[method].gradient == "plain":  # the same passes, whatever was measured
            each = plain
        paid[method] = {b: max(1, int(steps * plain[b] / each[b] + 1e-9)) for b in BUDGETS}
        if steps * plain["pipeline_time"] < each["pipeline_time"]:
            raise ValueError(
                f"{steps} steps of the plain optimizer take a pipeline time of "
                f"{steps * plain['pipeline_time']}, which does not pay for one step of "
                f"{config.label(method)}, {each['pipeline_time']}: give more --steps"
            )
    return paid


def _seconds(run: Training, number: int) -> float:
    dist.barrier()
    start = time.perf_counter()
    run.step(number)
    return time.perf_counter() - start


def _memory(run: Training, number: int) -> int:
    mine = peak_memory(lambda: run.step(number), run.stages.pipeline.device)
    return max(map(int, gathered(mine)))


def _other(run: Training) -> float:
    start = time.perf_counter()
    run.measure()
    return time.perf_counter() - start
