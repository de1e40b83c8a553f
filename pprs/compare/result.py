"""What came out: each method at the end of each budget, and which one to use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from pprs.compare.amount import Amount
from pprs.compare.choose import scores
from pprs.compare.config import CompareConfig
from pprs.compare.costs import ends
from pprs.compare.methods import METHODS, MethodName, Setting
from pprs.compare.run import BUDGETS, Budget, Point
from pprs.compare.statistics import LEVEL, Difference, best, differences
from pprs.compare.store import Plan
from pprs.compare.subject import Facts
from pprs.io.settings import as_toml
from pprs.theory import pipeline_time

Choices = Mapping[MethodName, Mapping[Budget, Setting]]


@dataclass(frozen=True)
class Row:
    """A method at the end of a budget.

    Args:
        setting: step size and sigma.
        points: one for each seed.
        metric: its name.
        ahead: what it is better by than the plain optimizer; nothing for that.
    """

    setting: Setting
    points: Sequence[Point]
    metric: str
    ahead: Difference | None = None

    @property
    def values(self) -> list[float]:
        """The metric of each seed."""
        return [point.metric[self.metric] for point in self.points]

    @property
    def mean(self) -> float:
        """Of the metric."""
        return fmean(self.values)

    @property
    def deviation(self) -> float:
        """Of the metric, over the seeds."""
        enough = len(self.values) > 1 and all(map(math.isfinite, self.values))
        return stdev(self.values) if enough else math.nan

    @property
    def seconds(self) -> float:
        """That the runs took, on average."""
        return fmean(point.seconds for point in self.points)


@dataclass(frozen=True)
class Result:
    """What came out.

    Args:
        config: the settings.
        found: what is known of the task.
        plan: what was measured before.
        ran: how much was run in the end.
        choices: step size and sigma of each method, for each budget.
        points: of all runs.
        left_out: what the time was not enough for, in words.
    """

    config: CompareConfig
    found: Facts
    plan: Plan
    ran: Amount
    choices: Choices
    points: Sequence[Point]
    left_out: Sequence[str]

    @property
    def higher_is_better(self) -> bool:
        """Whether that holds for the metric."""
        return self.found.metric != "loss"

    def rows(self, budget: Budget) -> dict[MethodName, Row]:
        """All methods at the end of a budget."""
        bare = {
            method: Row(
                setting[budget], self._at(method, setting[budget], budget), self.found.metric
            )
            for method, setting in self.choices.items()
        }
        ahead = differences({m: row.values for m, row in bare.items()}, **self._how)
        return {
            method: Row(row.setting, row.points, row.metric, ahead[method])
            for method, row in bare.items()
        }

    def best(self, budget: Budget) -> MethodName:
        """The method to use: plain, unless another was seen to be better."""
        price = {m: self.plan.costs[m].step for m in self.choices}
        if budget == "pipeline_time":
            price = {m: self.step_time(m) for m in self.choices}
        outcomes = {m: row.values for m, row in self.rows(budget).items()}
        return best(outcomes, price, **self._how)

    def step_time(self, method: MethodName) -> int:
        """Pipeline time of a step."""
        return pipeline_time(self.config.samples_of(method), self.found.depth)

    def curve(self, method: MethodName, budget: Budget) -> list[list[Point]]:
        """The points of the runs for a budget, up to its end, seed by seed."""
        ends = self._at(method, self.choices[method][budget], budget)
        return [
            [point for point in self.points if point.run == end.run and point.step <= end.step]
            for end in ends
        ]

    @property
    def paid(self) -> dict[MethodName, dict[Budget, int]]:
        """The steps that each budget pays for."""
        return ends(self.config, self.found, self.plan.costs, self.ran.steps)

    @property
    def budgets(self) -> dict[str, float]:
        """What the steps of the plain optimizer take."""
        return {
            "pipeline_time": self.ran.steps * self.step_time("plain"),
            "seconds": self.ran.steps * self.plan.costs["plain"].step,
            "steps": self.ran.steps,
        }

    @property
    def _how(self) -> dict[str, Any]:
        return {"higher_is_better": self.higher_is_better, "resolution": self.found.resolution}

    def _at(self, method: MethodName, setting: Setting, budget: Budget) -> list[Point]:
        by_seed = {
            point.seed: point
            for point in self.points
            if point.run[:3] == ("train", method, setting) and budget in point.budgets
        }
        return [by_seed[seed] for seed in range(self.ran.seeds)]


def as_data(result: Result, answer: str, seconds: float) -> dict[str, Any]:
    """What `summary.json` holds."""
    config, found = result.config, result.found
    return {
        "format": "pprs compare 1",
        "answer": answer,
        "config": as_toml(config),
        "task": {
            "name": config.task,
            "examples": found.examples,
            "held_out": found.held_out,
            "test": found.test,
            "parameters": found.parameters,
        },
        "metric": {"name": found.metric, "higher_is_better": result.higher_is_better},
        "depth": {"value": found.depth, "means": found.counted},
        "budgets": result.budgets,
        "ran": vars(result.ran),
        "left_out": list(result.left_out),
        "level": LEVEL,
        "methods": {method: _method(result, method) for method in result.choices},
        "search": {method: _trials(result, method) for method in result.choices},
        "answers": {budget: result.best(budget) for budget in BUDGETS},
        "seconds": seconds,
    }


def _method(result: Result, method: MethodName) -> dict[str, Any]:
    cost = result.plan.costs[method]
    samples = result.config.samples_of(method)
    return {
        "label": result.config.label(method),
        "samples": samples,
        "step": {
            "pipeline_time": result.step_time(method),
            "seconds": cost.step,
            "memory": cost.memory,
            "evaluations": samples,
        },
        "at": {budget: _row(result.rows(budget)[method], result) for budget in BUDGETS},
    }


def _row(row: Row, result: Result) -> dict[str, Any]:
    first, ahead = row.points[0], row.ahead
    sign = 1 if result.higher_is_better else -1
    return {
        "lr": row.setting.lr,
        "sigma": row.setting.sigma,
        "steps": first.step,
        "pipeline_time": first.pipeline_time,
        "seconds": row.seconds,
        "evaluations": first.evaluations,
        "train_loss": [point.train_loss for point in row.points],
        "metric": row.values,
        "mean": row.mean,
        "deviation": row.deviation,
        # As the metric counts, not as it is better.
        "difference": ahead
        and {
            "mean": sign * ahead.mean,
            "low": min(sign * ahead.low, sign * ahead.high),
            "high": max(sign * ahead.low, sign * ahead.high),
        },
    }


def _trials(result: Result, method: MethodName) -> list[dict[str, Any]]:
    trials = [point for point in result.points if point.phase == "search"]
    tried = result.config.candidates(method, result.ran.trials)
    if len(tried) == 1:
        return []
    return [
        {
            "lr": setting.lr,
            "sigma": setting.sigma,
            **{b: scores(trials, method, setting, b, result.found.metric) for b in BUDGETS},
        }
        for setting in tried
        if METHODS[method].gradient != "searched"
    ]
