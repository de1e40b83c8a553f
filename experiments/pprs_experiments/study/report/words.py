"""The format of numbers and names: every number of the report goes through here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from pprs_experiments.study.cell import Better, Goal, Spent
from pprs_experiments.study.intervals import Interval
from pprs_experiments.study.methods import METHODS

BUDGETS: dict[Spent, str] = {"time": "pipeline time", "evaluations": "gradient evaluations"}
_SYMBOLS = {
    "depth": "depth Δ",
    "examples": "examples m",
    "dimension": "dimension d",
    "functions": "functions m",
}


@dataclass(frozen=True)
class Measure:
    """What the goals of cells that can be taken together have in common.

    A metric of which more is better is an accuracy, from 0 to 1; of others less is better.

    Args:
        metric: the goal's.
        better: the goal's.
        spent: what is counted until a target is reached; `None` where there is no target.
    """

    metric: str
    better: Better
    spent: Spent | None

    @classmethod
    def of(cls, goal: Goal, spent: Spent) -> Measure:
        """The measure of a cell."""
        return cls(goal.metric, goal.better, None if goal.target is None else spent)

    @property
    def timed(self) -> bool:
        """Whether it is what was spent until a target was reached."""
        return self.spent is not None

    @property
    def name(self) -> str:
        """The name of the measure, with its unit."""
        metric = self.metric.replace("_", " ")
        if self.spent is not None:
            return f"{BUDGETS[self.spent]} to the target"
        if self.better == "lower":
            return metric
        return f"{metric}, %" if "accuracy" in metric else f"{metric} accuracy, %"

    @property
    def gain_name(self) -> str:
        """What a gain of it is, with the unit; more is better."""
        if self.spent is not None:
            return f"rival's {BUDGETS[self.spent]} / own, to the same target"
        plain = self.name.removesuffix(", %")
        return f"less {plain}" if self.better == "lower" else f"more {plain}, points"

    def value(self, x: float) -> str:
        """An outcome."""
        if not math.isfinite(x):
            return "–" if math.isnan(x) else "never" if self.timed else "diverged"
        if self.timed:
            return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"
        return f"{100 * x:.1f}" if self.better == "higher" else f"{x:.2e}"

    def gain(self, x: float) -> str:
        """A gain: a ratio of times, or a difference."""
        if math.isnan(x):
            return "–"
        if self.timed:
            ratio = math.exp(min(x, 700.0))
            return "×∞" if x > 700 else f"×{ratio:,.0f}" if 1e3 <= ratio < 1e6 else f"×{ratio:.3g}"
        if math.isinf(x):
            return "∞" if x > 0 else "−∞"
        return f"{100 * x:+.1f}" if self.better == "higher" else f"{x:+.2e}"


def values(measure: Measure, found: Interval) -> str:
    """An outcome with its interval."""
    low, high = measure.value(found.low), measure.value(found.high)
    return f"{measure.value(found.value)} [{low}, {high}]"


def gains(measure: Measure, found: Interval) -> str:
    """A gain with its interval."""
    low, high = measure.gain(found.low), measure.gain(found.high)
    return f"{measure.gain(found.value)} [{low}, {high}]"


def probability(p: float) -> str:
    """A p-value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def label(method: str) -> str:
    """The label of a method: that of the registry, else its name."""
    return METHODS[method].label if method in METHODS else method


def setting_label(setting: str) -> str:
    """The label of a task's setting, with its symbol if it has one."""
    return _SYMBOLS.get(setting, setting.replace("_", " "))


def plural(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def shortened(names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """What all names have in common, and what else each says.

    Args:
        names: their parts are separated by `/`.

    Returns:
        The common parts, and for each name the others, at least one.

    Example:
        >>> shortened(["svm/a9a/mean", "svm/mushrooms/mean"])
        ('svm, mean', {'svm/a9a/mean': 'a9a', 'svm/mushrooms/mean': 'mushrooms'})
    """
    parts = {name: name.split("/") for name in names}
    columns = list(zip_longest(*parts.values(), fillvalue=""))
    common = [i for i, column in enumerate(columns) if len(set(column)) == 1]
    if len(common) == len(columns):
        common = common[:-1]
    rest = {
        name: ", ".join(part for i, part in enumerate(each) if i not in common)
        for name, each in parts.items()
    }
    return ", ".join(columns[i][0] for i in common), rest
