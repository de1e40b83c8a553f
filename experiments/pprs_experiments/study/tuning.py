"""The search for a method's hyperparameters: the same number of trials for every method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pprs._arguments import counts
from pprs.smoothing import derive_seed
from pprs_experiments.study.cell import Better
from pprs_experiments.study.methods import Choice, Hyperparameters, Range

if TYPE_CHECKING:
    from optuna import Trial


def tune(
    better: Better,
    space: Mapping[str, Range],
    score: Callable[[Hyperparameters], float],
    trials: int,
    seed: int,
) -> tuple[dict[str, Any], float]:
    """Search a space: its middle, then at random, then where trials so far were best (TPE).

    Of a space that holds no more settings than there are trials all are tried, once each.

    Args:
        better: whether higher or lower scores are.
        space: where to search each hyperparameter.
        score: of hyperparameters, finite.
        trials: how many, at least 1; of a space that is empty there is one.
        seed: of the search.

    Returns:
        The best hyperparameters and their score; of equal ones the first.
    """
    import optuna
    from optuna.samplers import TPESampler

    counts(trials=trials)
    first = _grid(space, trials) or [{name: each.middle for name, each in space.items()}]
    trials = len(first) if len(first) > 1 else trials if space else 1

    def objective(trial: Trial) -> float:
        return score({name: _suggested(trial, name, each) for name, each in space.items()})

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if better == "higher" else "minimize")
    for setting in first:
        study.enqueue_trial(setting)
    for number in range(trials):
        study.sampler = TPESampler(
            n_startup_trials=max(1, trials // 2), seed=derive_seed(seed, "trial", number) % 2**32
        )
        study.optimize(objective, n_trials=1)
    values = [trial.values[0] for trial in study.trials]
    best = max(values) if better == "higher" else min(values)
    return dict(study.trials[values.index(best)].params), best


def _grid(space: Mapping[str, Range], most: int) -> list[dict[str, Any]]:
    """All settings of a space of choices, if they are not more than so many."""
    choices = [each.values for each in space.values() if isinstance(each, Choice)]
    if len(choices) < len(space) or math.prod(map(len, choices)) > most:
        return []
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*choices)]


def _suggested(trial: Trial, name: str, searched: Range) -> Any:
    if isinstance(searched, Choice):
        return trial.suggest_categorical(name, searched.values)
    return trial.suggest_float(name, searched.low, searched.high, log=True)
