"""One training run: a method with a step size and a sigma, and a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist

from pprs.compare.clock import Stopwatch
from pprs.compare.config import CompareConfig
from pprs.compare.methods import METHODS, MethodName, Setting
from pprs.compare.subject import Parts, Subject
from pprs.smoothing import NotFiniteError
from pprs.theory import pipeline_time
from pprs.training.config import TrainConfig
from pprs.training.learning import Learning
from pprs.training.searching import StagedSteps
from pprs.training.stages import Stages
from pprs.training.take_step import take_step

Budget: TypeAlias = Literal["pipeline_time", "seconds"]
BUDGETS: tuple[Budget, ...] = ("pipeline_time", "seconds")

# Examples that are evaluated at once, at least.
_ROWS = 512


@dataclass(frozen=True)
class PlannedRun:
    """What is trained.

    Args:
        phase: a trial of the search, or one of the runs that are compared.
        method: which one.
        setting: its step size and sigma.
        seed: counted from 0.
        ends: the step at which each budget ends that it is for.
    """

    phase: Literal["search", "train"]
    method: MethodName
    setting: Setting
    seed: int
    ends: tuple[tuple[Budget, int], ...]

    @property
    def steps(self) -> int:
        """To the end of the larger budget."""
        return max(step for _, step in self.ends)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from others, as `Point.run` does."""
        return self.phase, self.method, self.setting, self.seed, self.steps

    def measured_at(self, points: int) -> list[int]:
        """After which steps to measure: evenly spread, and where a budget ends."""
        number = min(points, self.steps) if self.phase == "train" else 1
        evenly = {round(self.steps * i / number) for i in range(1, number + 1)}
        return sorted(evenly | {step for _, step in self.ends})


@dataclass(frozen=True)
class Point:
    """What is measured in a run, a line of `metrics.jsonl`.

    Args:
        phase: of its run.
        method: of its run.
        seed: of its run.
        lr: the step size that the run began with, or `None` where it is searched.
        sigma: of the perturbations; 0 without any.
        samples: perturbations of a step, $K$.
        step: after how many steps.
        of: steps of the whole run.
        pipeline_time: of these.
        seconds: of these, if all took as long as the least disturbed of them (`clock`).
        evaluations: of the loss with its gradient, in these.
        train_loss: on training examples.
        metric: the loss, and the accuracy if there is one, on the other examples.
        budgets: those that end here.
    """

    phase: str
    method: MethodName
    seed: int
    lr: float | None
    sigma: float
    samples: int
    step: int
    of: int
    pipeline_time: int
    seconds: float
    evaluations: int
    train_loss: float
    metric: Mapping[str, float]
    budgets: tuple[Budget, ...]

    @property
    def run(self) -> tuple[Any, ...]:
        """What tells its run from others."""
        return self.phase, self.method, Setting(self.lr, self.sigma), self.seed, self.of

    def as_record(self) -> dict[str, Any]:
        """What JSON holds."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Point:
        """From JSON, where `null` stands for what is not finite."""
        metric = {name: _number(value) for name, value in record["metric"].items()}
        read = {name: _number(record[name]) for name in ("train_loss", "seconds")}
        names = cls.__dataclass_fields__
        kept = {name: value for name, value in record.items() if name in names}
        return cls(**(kept | read | {"metric": metric, "budgets": tuple(record["budgets"])}))


class Training:
    """A run under way: its stages and its optimizer. Making one and all calls are collective.

    Args:
        subject: what is trained.
        settings: of the run.
        parts: its examples.
        group: the processes that share it; all by default.
    """

    def __init__(
        self,
        subject: Subject,
        settings: TrainConfig,
        parts: Parts,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        task = subject.task(settings, parts.training)
        # A step size that is too large is a result, too.
        self.stages = Stages(settings, task, {}, finite=False, group=group)
        if self.stages.pipeline.captured is not None:
            self.stages.pipeline.captured.tell = lambda _: None  # it would be said in each run
        parameters = self.stages.pipeline.named_parameters().values()
        self._learning = Learning(settings, parameters, task.steps, StagedSteps(self.stages))
        self._settings, self._batch = settings, max(_ROWS, task.order.batch)
        self._other, self._sample = parts.other, parts.sample()
        self._order, self.failed = task.order, False
        one = dist.get_world_size(group) == 1
        self.clock = Stopwatch(one and self.stages.pipeline.device.type == "cpu")

    def step(self, number: int) -> None:
        """Take a step; of a searched one that is finite nowhere, none."""
        self.clock.start()
        try:
            take_step(self.stages, self._learning, number, self._settings.clip)
        except NotFiniteError:
            self.failed = True
        if self.stages.pipeline.device.type == "cuda":
            torch.cuda.synchronize()
        self.clock.stop(counts=not self._order.is_short(number))

    def save_timeline(self, file: Path) -> None:
        """Write where the time of the last steps went."""
        timeline = self.stages.pipeline.timeline()
        if timeline is not None and self.stages.pipeline.replica == 0:
            timeline.save(file)

    def measure(self) -> tuple[float, dict[str, float]]:
        """The training loss and the metric, the same in all processes."""
        with self._learning.evaluating():
            on_training = self.stages.evaluate(self._sample, self._batch)
            other = self.stages.evaluate(self._other, self._batch)
        if self.failed or not math.isfinite(on_training["loss"]):
            self.failed = True
            return math.nan, dict.fromkeys(other, math.nan)
        return on_training["loss"], other


def execute(
    subject: Subject, run: PlannedRun, depth: int, *, alone: dist.ProcessGroup | None = None
) -> list[Point]:
    """Train; a collective call of all processes, or of one alone.

    Args:
        subject: what is trained.
        run: how.
        depth: nodes that the pipeline time counts.
        alone: a group of this process only, for a run in it.

    Returns:
        What was measured, the same in all processes but for the seconds.
    """
    config = subject.config
    seed = config.seed + run.seed
    traced = run.phase == "train" and run.seed == 0 and run.method == _averaging(config)
    settings = config.training(
        run.method, run.setting, run.steps, seed, alone=alone is not None, traced=traced
    )
    parts = subject.held_out(seed) if run.phase == "search" else subject.parts(seed)
    training = Training(subject, settings, parts, alone)
    samples = config.samples_of(run.method)
    points: list[Point] = []
    done = 0
    for logged in run.measured_at(config.points):
        while done < logged and not training.failed:
            training.step(done)
            done += 1
        loss, metric = training.measure()
        done = logged
        points.append(
            Point(
                phase=run.phase,
                method=run.method,
                seed=run.seed,
                lr=run.setting.lr,
                sigma=run.setting.sigma,
                samples=samples,
                step=logged,
                of=run.steps,
                pipeline_time=logged * pipeline_time(samples, depth),
                seconds=math.nan,
                evaluations=logged * samples,
                train_loss=loss,
                metric=metric,
                budgets=tuple(budget for budget, step in run.ends if step == logged),
            )
        )
    if settings.trace is not None:
        training.save_timeline(settings.trace)
    return [replace(point, seconds=point.step * training.clock.step) for point in points]


def _averaging(config: CompareConfig) -> MethodName | None:
    """The first method of several perturbations."""
    return next((name for name in config.compared if METHODS[name].averages), None)


def runs_of(
    config: CompareConfig,
    phase: Literal["search", "train"],
    method: MethodName,
    settings: Mapping[Budget, Setting],
    ends: Mapping[Budget, int],
    seed: int,
) -> list[PlannedRun]:
    """The runs that a method needs for both budgets: one, where the shorter is part of the longer.

    Args:
        config: the settings.
        phase: of the run.
        method: which one.
        settings: for each budget.
        ends: the steps that each budget pays for.
        seed: counted from 0.
    """
    both = [(budget, ends[budget]) for budget in BUDGETS]
    # What decays knows the number of its steps.
    apart = config.decay != "constant" and len(set(ends.values())) > 1
    if len(set(settings.values())) > 1 or apart:
        return [PlannedRun(phase, method, settings[end[0]], seed, (end,)) for end in both]
    return [PlannedRun(phase, method, settings[BUDGETS[0]], seed, tuple(both))]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
