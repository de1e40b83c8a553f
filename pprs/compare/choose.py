"""Choose each method's step size and sigma by its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from pprs.compare.config import CompareConfig
from pprs.compare.methods import MethodName, Setting
from pprs.compare.run import BUDGETS, Budget, Point


def choose(
    config: CompareConfig, trials: Sequence[Point], metric: str, number: int
) -> dict[MethodName, dict[Budget, Setting]]:
    """For each budget the setting with the best mean of the metric on the held-out examples.

    Settings with a run that diverged are out; of equals in accuracy, the one with the lower loss
    is taken. A method with a single candidate needs no trial.

    Args:
        config: the settings.
        trials: what was measured in them.
        metric: that decides.
        number: of trials.

    Raises:
        ValueError: if every trial of a method diverged.
    """
    return {
        method: {
            budget: _choose(config, method, budget, trials, metric, number) for budget in BUDGETS
        }
        for method in config.compared
    }


def scores(
    trials: Sequence[Point], method: MethodName, setting: Setting, budget: Budget, name: str
) -> float:
    """The mean of a metric over the seeds of a trial, at the end of a budget.

    Of a trial that was run once more, with more steps, the last run counts.
    """
    found = {
        point.seed: point.metric[name]
        for point in trials
        if point.run[1:3] == (method, setting) and budget in point.budgets
    }
    return fmean(found.values()) if found else math.nan


def _choose(
    config: CompareConfig,
    method: MethodName,
    budget: Budget,
    trials: Sequence[Point],
    metric: str,
    number: int,
) -> Setting:
    tried = config.candidates(method, number)
    if len(tried) == 1:
        return tried[0]
    losses = {s: scores(trials, method, s, budget, "loss") for s in tried}
    converged = [s for s in tried if math.isfinite(losses[s])]
    if not converged:
        sizes = ", ".join(sorted({f"{s.lr:g}" for s in tried}))
        raise ValueError(
            f"{config.label(method)} diverged with every step size tried ({sizes}): give a smaller "
            f"one with --lr"
        )
    if metric == "loss":
        return min(converged, key=lambda s: losses[s])
    right = {s: scores(trials, method, s, budget, metric) for s in converged}
    return max(converged, key=lambda s: (right[s], -losses[s]))
