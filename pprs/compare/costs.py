"""What a step of each method costs: measured before anything is trained, and by trials again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch.distributed as dist

from pprs.compare.clock import Stopwatch
from pprs.compare.config import CompareConfig
from pprs.compare.memory import peak_memory
from pprs.compare.methods import METHODS, MethodName
from pprs.compare.run import BUDGETS, Budget, Point, Training
from pprs.compare.subject import Facts, Subject
from pprs.pipeline.communication import broadcast, gathered
from pprs.theory import pipeline_time

_WARM_UP = 2
_LEAST, _MOST, _SECONDS = 3, 15, 1.0  # rounds that are kept, and how long all of them may take
_OFTEN = 8  # steps of a cheap method in a round, at most


@dataclass(frozen=True)
class Cost:
    """Of a method.

    Args:
        step: seconds of a step, by the clock of `Stopwatch`.
        memory: bytes of a step at its fullest moment, beyond parameters and the optimizer's state.
        other: seconds to measure the metric.
        start: seconds until the first step.
    """

    step: float
    memory: int
    other: float
    start: float


def measured(
    subject: Subject,
    methods: Sequence[MethodName],
    begins: Callable[[str], None],
    alone: dist.ProcessGroup | None = None,
) -> tuple[dict[MethodName, Cost], float]:
    """Take steps of all methods in turn, so that all have the same machine; a collective call.

    Args:
        subject: what is trained.
        methods: which.
        begins: is told what does, before it does; what it raises ends the measuring.
        alone: a group of this process only, if it takes steps of its own.

    Returns:
        The costs, and the pace: by how much longer steps took than these say, since the machine
        had other work, too. The same in all processes.
    """
    config = subject.config
    parts = subject.parts(config.seed)
    runs: dict[MethodName, Training] = {}
    starts: list[float] = []
    for method in methods:
        begins(f"preparing {config.label(method)}")
        start = time.perf_counter()
        setting = config.candidates(method, 1)[0]
        steps = _OFTEN * _MOST + _WARM_UP + 1
        settings = config.training(method, setting, steps, config.seed, checks=True)
        runs[method] = Training(subject, settings, parts, alone)
        starts.append(time.perf_counter() - start)
    done = dict.fromkeys(runs, 0)

    def take(method: MethodName) -> None:
        begins(f"step {done[method] + 1} of {config.label(method)}")
        dist.barrier()
        runs[method].step(done[method])
        done[method] += 1

    for _ in range(_WARM_UP):
        for method in runs:
            take(method)
    last = {method: run.clock.wall[-1] for method, run in runs.items()}
    rounds = min(_MOST, max(_LEAST, round(_SECONDS / sum(last.values()))))
    often = {m: max(1, min(_OFTEN, int(max(last.values()) / last[m]))) for m in runs}
    rounds, often = broadcast((rounds, often), 0)
    for run in runs.values():
        run.clock.forget()
    for _ in range(rounds):
        for method in runs:
            for _ in range(often[method]):
                take(method)
    wall = sum(sum(run.clock.wall) for run in runs.values())
    pace = max(1.0, wall / sum(run.clock.step * len(run.clock.wall) for run in runs.values()))
    costs = {
        method: Cost(
            run.clock.step,
            _memory(run, done[method]),
            _other(run),
            min(starts),  # in the first the model may have been traced
        )
        for method, run in runs.items()
    }
    shared: tuple[dict[MethodName, Cost], float] = broadcast((costs, pace), 0)
    return shared


def least(points: Sequence[Point]) -> float | None:
    """Seconds of a step in the run that was disturbed least; nothing without any."""
    each = [point.seconds / point.step for point in points if point.seconds > 0]
    return min(each, default=None)


def corrected(costs: Mapping[MethodName, Cost], points: Sequence[Point]) -> dict[MethodName, Cost]:
    """The costs once more, by what runs took as well."""
    found = {m: least([p for p in points if p.method == m and p.step == p.of]) for m in costs}
    return {
        m: replace(cost, step=min(cost.step, found[m] or cost.step)) for m, cost in costs.items()
    }


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


def _memory(run: Training, number: int) -> int:
    mine = peak_memory(lambda: run.step(number), run.stages.pipeline.device)
    return max(map(int, gathered(mine)))


def _other(run: Training) -> float:
    watch = Stopwatch(run.clock.by_cpu)
    for _ in range(2):
        watch.start()
        run.measure()
        watch.stop()
    return watch.step
