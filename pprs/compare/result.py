"""What came out: each method at the end of each budget, and which one to use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from pprs.compare.amount import FEWEST_SEEDS, Amount, estimated, time_for, wanted
from pprs.compare.config import CompareConfig
from pprs.compare.costs import ends, least
from pprs.compare.methods import MethodName, Setting
from pprs.compare.run import Budget, Point
from pprs.compare.statistics import Difference, best, differences
from pprs.compare.store import Plan
from pprs.compare.subject import Facts
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
        """That its steps take, by the run that was disturbed least."""
        step = least(self.points)
        return math.nan if step is None else step * self.points[0].step


@dataclass(frozen=True)
class Result:
    """What came out.

    Args:
        config: the settings.
        found: what is known of the task.
        plan: what was measured of a step.
        ran: how much was run in the end.
        choices: step size and sigma of each method, for each budget.
        points: of all runs.
    """

    config: CompareConfig
    found: Facts
    plan: Plan
    ran: Amount
    choices: Choices
    points: Sequence[Point]

    @property
    def wanted(self) -> Amount:
        """How much the settings ask for."""
        return wanted(self.config, self.found)

    @property
    def enough(self) -> str:
        """A `--time` for what is missing of that; nothing if that is nothing."""
        ran, all_of_it, plan = self.ran, self.wanted, self.plan
        if ran.steps < all_of_it.steps:  # from the start, in a folder of its own
            seconds = sum(estimated(self.config, self.found, plan.costs, all_of_it))
        elif ran.seeds < all_of_it.seeds:
            rest = replace(all_of_it, seeds=all_of_it.seeds - ran.seeds)
            seconds = estimated(self.config, self.found, plan.costs, rest)[1]
        elif ran.trials < all_of_it.trials:
            seconds = sum(estimated(self.config, self.found, plan.costs, all_of_it))
        else:
            return ""
        return time_for(seconds * plan.pace + plan.before)

    @property
    def left_out(self) -> list[str]:
        """What the time was not enough for, in words."""
        ran, all_of_it = self.ran, self.wanted
        less = ran.less_than(all_of_it)
        if not less:
            return []
        said = f"--time {self.config.chosen.time} was enough for {', '.join(less)}"
        fewer = ran.trials < all_of_it.trials and ran.seeds == all_of_it.seeds
        if ran.steps < all_of_it.steps or fewer:
            said += f"; --time {self.enough} is for all, in a new folder"
        elif ran.seeds < all_of_it.seeds:
            said += (
                f"; the same command goes on from there, and with --time {self.enough} to the last"
            )
        tried = self.plan.tried
        if ran.trials > 1 and 0 < tried < ran.steps:
            said += f"; trials had {tried} of the {ran.steps} steps"
        return [said]

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
        ahead: Mapping[MethodName, Difference | None] = {}
        if self.ran.seeds >= FEWEST_SEEDS:
            ahead = differences({m: row.values for m, row in bare.items()}, **self._how)
        return {
            method: Row(row.setting, row.points, row.metric, ahead.get(method))
            for method, row in bare.items()
        }

    def best(self, budget: Budget) -> MethodName:
        """The method to use: plain, unless another was seen to be better."""
        if self.ran.seeds < FEWEST_SEEDS:
            return "plain"
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
