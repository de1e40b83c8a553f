"""The search for a method's hyperparameters: the same number of trials for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pprs._arguments import counts
from pprs.smoothing import derive_seed
from pprs_experiments.study.methods import Choice, Hyperparameters, Range

if TYPE_CHECKING:
    from optuna import Study, Trial


def tune(
    study: Study,
    space: Mapping[str, Range],
    score: Callable[[Hyperparameters], float],
    trials: int,
    seed: int,
) -> tuple[dict[str, Any], float]:
    """Search a space: its middle, then at random, then where trials so far were best (TPE).

    A study that was interrupted goes on after its last complete trial, and ends as if it had not
    been.

    Args:
        study: of Optuna; its direction says what is better.
        space: where to search each hyperparameter.
        score: of hyperparameters, finite.
        trials: how many complete ones there are in the end, at least 1.
        seed: of the search.

    Returns:
        The best hyperparameters and their score; of equal ones the first.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    counts(trials=trials)

    def objective(trial: Trial) -> float:
        return score({name: _suggested(trial, name, each) for name, each in space.items()})

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # its process was killed
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.WAITING)):
        study.enqueue_trial({name: each.middle for name, each in space.items()})
    while (done := len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))) < trials:
        # Seeded anew, so that what comes next does not depend on an interruption.
        study.sampler = TPESampler(
            n_startup_trials=max(1, trials // 2), seed=derive_seed(seed, "trial", done) % 2**32
        )
        study.optimize(objective, n_trials=1)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[:trials]
    values = [trial.values[0] for trial in complete]
    best = max(values) if study.direction.name == "MAXIMIZE" else min(values)
    return dict(complete[values.index(best)].params), best


def _suggested(trial: Trial, name: str, searched: Range) -> Any:
    if isinstance(searched, Choice):
        return trial.suggest_categorical(name, searched.values)
    return trial.suggest_float(name, searched.low, searched.high, log=True)
