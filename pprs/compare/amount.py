"""How much is run: what the time is enough for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from pprs.compare.config import CompareConfig
from pprs.compare.costs import Cost, ends
from pprs.compare.methods import METHODS, MethodName
from pprs.compare.subject import Facts

# Estimates are no promises; fewer than three seeds are no answer.
_MARGIN, _MARGIN_OF_FEWEST = 1.15, 1.6
_SHARES = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)  # of the steps one is left
_FEWEST_STEPS = 10
FEWEST_SEEDS = 3
"""That have intervals: those of two are too wide to tell anything."""


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
    config: CompareConfig,
    found: Facts,
    costs: Mapping[MethodName, Cost],
    left: float,
    pace: float = 1.0,
    searched: Amount | None = None,
) -> Amount:
    """The most that fits: fewer trials and seeds before fewer steps.

    Args:
        config: the settings.
        found: what is known of the task.
        costs: of the methods.
        left: seconds.
        pace: seconds that pass in one of the costs.
        searched: how much there was when the trials were run, if they were: these count no more.

    Raises:
        ValueError: if not even the least does; once there were trials, it is run nevertheless.
    """
    least = math.inf
    for less in _smaller(wanted(config, found)):
        amount = less
        if searched is not None:
            amount = replace(less, trials=searched.trials, tuning_seeds=searched.tuning_seeds)
        try:
            search, training = estimated(config, found, costs, amount)
            margin = _MARGIN_OF_FEWEST if amount.seeds <= FEWEST_SEEDS else _MARGIN
            seconds = (training + (search if searched is None else 0.0)) * pace * margin
        except ValueError:
            if amount.steps == found.steps:
                raise
            break  # so few steps pay for none of a smoothed one
        if seconds <= left:
            return amount
        least = min(least, seconds)
    if searched is not None:
        return searched
    raise ValueError(
        f"--time {config.chosen.time} is not enough: the least that something could be said from "
        f"takes about --time {time_for(config.limit - left + least)}; give that, or fewer "
        f"--methods, --steps or --samples"
    )


def estimated(
    config: CompareConfig, found: Facts, costs: Mapping[MethodName, Cost], amount: Amount
) -> tuple[float, float]:
    """Seconds of the search, and of the runs that are compared."""
    paid = ends(config, found, costs, amount.steps)

    def run(method: MethodName) -> float:
        return expected(config, costs[method], max(paid[method].values()))

    searched = [m for m in config.compared if METHODS[m].gradient != "searched"]
    trials = amount.trials * amount.tuning_seeds if amount.trials > 1 else 0
    # Processes search side by side: those of a pipeline, too.
    search = sum(map(run, searched)) * trials / max(1.0, config.processes / 1.5)
    abreast = config.processes if config.in_a_run == 1 else 1
    return search, sum(map(run, config.compared)) * -(-amount.seeds // abreast)


def expected(config: CompareConfig, cost: Cost, steps: int) -> float:
    """Seconds of a run."""
    return cost.start + steps * cost.step + min(config.points + 1, steps) * cost.other


def shown(seconds: float) -> str:
    """A duration in words."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def time_for(seconds: float) -> str:
    """A `--time` that is enough for these seconds."""
    seconds *= _MARGIN
    return f"{math.ceil(seconds / 60)}m" if seconds > 90 else f"{10 * math.ceil(seconds / 10)}s"


def _smaller(wanted: Amount) -> Iterator[Amount]:
    """From all that is wanted to the least."""
    fewer: list[Callable[[Amount], Amount]] = [
        lambda a: a,
        lambda a: replace(a, tuning_seeds=1),
        lambda a: replace(a, tuning_seeds=1, trials=min(a.trials, 3)),
        lambda a: Amount(min(a.trials, 3), 1, min(a.seeds, 5), a.steps),
        lambda a: Amount(min(a.trials, 3), 1, min(a.seeds, FEWEST_SEEDS), a.steps),
    ]
    for share in _SHARES:
        steps = int(wanted.steps / share)
        if share > 1 and steps < _FEWEST_STEPS:
            return
        for less in fewer:
            yield less(replace(wanted, steps=steps))
