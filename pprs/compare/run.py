"""One training run: one method, one step size, one seed, through a pipeline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor

from pprs.compare.config import CompareConfig, MethodName
from pprs.compare.digits import CLASSES, PIXELS, few_shot_digits
from pprs.compare.examples import Examples
from pprs.compare.methods import METHODS
from pprs.compare.network import relu_network
from pprs.optim.registry import evaluating
from pprs.pipeline import Pipeline, device
from pprs.smoothing import Perturbation, derive_seed
from pprs.theory import pipeline_time
from pprs.training.losses import LOSSES


@dataclass(frozen=True)
class Point:
    """What is measured in a run after `step` steps."""

    step: int
    pipeline_time: int
    wall_time: float  # seconds spent in steps
    train_loss: float
    loss: float  # this and the accuracy: on the examples that the run does not train on
    accuracy: float


@dataclass(frozen=True)
class TrainingRun:
    """A method with a step size on the examples, initial weights and noise of a seed."""

    config: CompareConfig
    method: MethodName
    lr: float
    seed: int  # 0 to config.seeds - 1

    @property
    def samples(self) -> int:
        """Perturbations per step."""
        return self.config.samples if _averages(self.method) else 1

    @property
    def step_time(self) -> int:
        """Pipeline time of a step."""
        return pipeline_time(self.samples, self.config.depth)

    @property
    def steps(self) -> int:
        """The steps that the budget pays for."""
        return self.config.budget // self.step_time

    @property
    def logged_steps(self) -> list[int]:
        """After which steps to measure: evenly spread, the last one among them."""
        points = min(self.config.points, self.steps)
        return sorted({round(self.steps * i / points) for i in range(1, points + 1)})

    def execute(
        self,
        train: Examples,
        other: Examples,
        group: dist.ProcessGroup | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Iterator[Point]:
        """Train; a collective call of the group's processes.

        Args:
            train: examples to train on.
            other: examples to measure the accuracy on.
            group: processes that share the run, a stage each; all by default.
            weights: filled at the end with this process's share of the result.

        Yields:
            A point after each logged step, the same in all processes.
        """
        pipeline = self._pipeline(group)
        method = METHODS[self.method]
        optimizer = method.make(pipeline.named_parameters().items(), self.lr, self.config.momentum)
        done, wall_time = 0, 0.0
        for logged in self.logged_steps:
            start = time.perf_counter()
            for _ in range(done, logged):
                pipeline.step(train.x, train.y)
                optimizer.step()
            wall_time += time.perf_counter() - start
            done = logged
            with evaluating(optimizer):
                measured = self._measure(pipeline, train, other)
            yield Point(done, done * self.step_time, wall_time, *measured)
        if self._records(group):
            timeline = pipeline.timeline()
            if timeline and self.config.trace and pipeline.replica == 0:
                timeline.save(self.config.trace)
        if weights is not None:
            with evaluating(optimizer):
                weights |= {
                    n: p.detach().cpu().clone() for n, p in pipeline.named_parameters().items()
                }

    def _records(self, group: dist.ProcessGroup | None) -> bool:
        averaging = [method for method in self.config.methods if _averages(method)]
        first = self.method in averaging[:1] and self.seed == 0
        return first and self.config.trace is not None and group is None

    @property
    def _perturbation(self) -> Perturbation:
        if METHODS[self.method].gradient == "plain":
            return Perturbation(0.0, 1)
        if _averages(self.method):
            return self.config.perturbation
        return replace(self.config.perturbation, samples=1, antithetic=False)

    def _pipeline(self, group: dist.ProcessGroup | None) -> Pipeline:
        config = self.config
        weights = torch.Generator().manual_seed(derive_seed(config.seed, self.seed, "weights"))
        dtype = getattr(torch, config.dtype)
        averages = _averages(self.method)
        # A single pass, or a run in one process, has nothing to share or to overlap.
        shared = averages and group is None
        return Pipeline(
            relu_network(
                PIXELS, config.width, CLASSES, config.depth, generator=weights, dtype=dtype
            ),
            LOSSES[config.loss],
            perturbation=self._perturbation,
            microbatches=config.microbatches if averages else 1,
            schedule=config.schedule if shared else "gpipe",
            replicas=config.replicas if shared else 1,
            seed=derive_seed(config.seed, self.seed, "noise"),
            finite=False,  # a step size that is too large is a result of the search
            record=20 if self._records(group) else 0,
            device=device(),
            group=group,
        )

    def _measure(
        self, pipeline: Pipeline, train: Examples, other: Examples
    ) -> tuple[float, float, float]:
        scores = pipeline(torch.cat([train.x, other.x]))
        measured = None
        if scores is not None:
            scores = scores.cpu()
            on_train, on_other = scores[: len(train)], scores[len(train) :]
            loss = LOSSES[self.config.loss]
            accuracy = (on_other.argmax(1) == other.y).double().mean()
            measured = (
                loss(on_train, train.y).item(),
                loss(on_other, other.y).item(),
                accuracy.item(),
            )
        shared: tuple[float, float, float] = pipeline.from_last(measured)
        return shared


def _averages(method: MethodName) -> bool:
    return METHODS[method].gradient == "mean"


def examples(config: CompareConfig, seed: int) -> tuple[Examples, Examples]:
    """The training and test examples of a seed, the same for every method."""
    generator = torch.Generator().manual_seed(derive_seed(config.seed, seed, "examples"))
    return few_shot_digits(config.shots, generator, getattr(torch, config.dtype))
