"""How much is run: what the time is enough for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pprs.compare.config import CompareConfig
from pprs.compare.costs import Cost, ends
from pprs.compare.methods import METHODS, MethodName
from pprs.compare.subject import Facts

# Estimates are no promises.
_MARGIN = 1.15
_SHARES = (1, 2, 4, 8, 16, 32, 64)  # of the steps that are left
_FEWEST_STEPS = 10


@dataclass(frozen=True)
class Amount:
    """How much is run.

    Args:
        trials: of each method.
        tuning_seeds: seeds of each trial.
        seeds: with which each method is trained at last.
        steps: of the plain optimizer.
    """

    trials: int
    tuning_seeds: int
    seeds: int
    steps: int

    def less_than(self, wanted: Amount) -> list[str]:
        """What of the wanted is left out, in words."""
        words = {
            "trials": "trials of each method",
            "tuning_seeds": "seeds of a trial",
            "seeds": "seeds",
            "steps": "steps",
        }
        return [
            f"{getattr(self, name)} of {getattr(wanted, name)} {what}"
            for name, what in words.items()
            if getattr(self, name) < getattr(wanted, name)
        ]


def wanted(config: CompareConfig, found: Facts) -> Amount:
    """What the settings ask for."""
    chosen = config.chosen
    return Amount(chosen.trials, chosen.tuning_seeds, chosen.seeds, found.steps)


def fitted(
    config: CompareConfig, found: Facts, costs: dict[MethodName, Cost], left: float
) -> Amount:
    """The most that fits: fewer trials and seeds before fewer steps.

    Args:
        config: the settings.
        found: what is known of the task.
        costs: of the methods.
        left: seconds.

    Raises:
        ValueError: if not even the least does.
    """
    least = math.inf
    for amount in _smaller(wanted(config, found)):
        try:
            seconds = sum(estimated(config, found, costs, amount)) * _MARGIN
        except ValueError:
            if amount.steps == found.steps:
                raise
            break  # so few steps pay for none of a smoothed one
        if seconds <= left:
            return amount
        least = min(least, seconds)
    raise ValueError(
        f"--time {config.chosen.time} is not enough: the least that could be said something from "
        f"takes about {shown(least)} after the start; give more, or fewer --methods, --steps or "
        f"--samples"
    )


def estimated(
    config: CompareConfig, found: Facts, costs: dict[MethodName, Cost], amount: Amount
) -> tuple[float, float]:
    """Seconds of the search, and of the runs that are compared."""
    paid = ends(config, found, costs, amount.steps)

    def run(method: MethodName) -> float:
        cost, steps = costs[method], paid[method].values()
        measuring = min(config.points + 1, max(steps)) * cost.other
        return cost.start + max(steps) * cost.step + measuring

    searched = [m for m in config.compared if METHODS[m].gradient != "searched"]
    trials = amount.trials * amount.tuning_seeds if amount.trials > 1 else 0
    # Processes search side by side: those of a pipeline, too.
    search = sum(map(run, searched)) * trials / max(1.0, config.processes / 1.5)
    abreast = config.processes if config.in_a_run == 1 else 1
    return search, sum(map(run, config.compared)) * -(-amount.seeds // abreast)


def shown(seconds: float) -> str:
    """A duration in words."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _smaller(wanted: Amount) -> Iterator[Amount]:
    """From all that is wanted to the least."""
    fewer: list[Callable[[Amount], Amount]] = [
        lambda a: a,
        lambda a: replace(a, tuning_seeds=1),
        lambda a: replace(a, tuning_seeds=1, trials=min(a.trials, 3)),
        lambda a: replace(a, tuning_seeds=1, trials=min(a.trials, 3), seeds=min(a.seeds, 5)),
        lambda a: replace(a, tuning_seeds=1, trials=min(a.trials, 3), seeds=min(a.seeds, 3)),
    ]
    for share in _SHARES:
        steps = wanted.steps // share
        if share > 1 and steps < _FEWEST_STEPS:
            return
        for less in fewer:
            yield less(replace(wanted, steps=steps))
