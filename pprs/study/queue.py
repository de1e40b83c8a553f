"""The queue of jobs, in a database that workers on one or many machines share."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pprs.study.job import Direction
from pprs.study.results import Result

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

HEARTBEAT = 10  # seconds; a job whose worker was not heard of for four of them is lost


class Queue:
    """Jobs by their keys, each a trial of one study of Optuna: it waits, runs, or has its result.

    A worker that takes a job shows signs of life while it runs. The job of one that was killed
    waits again.

    Args:
        storage: URL of a database, as SQLAlchemy reads it.

    Raises:
        ValueError: if it cannot be opened.
    """

    def __init__(self, storage: str) -> None:
        import optuna
        from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        optuna.logging.set_verbosity(logging.ERROR)
        # Heartbeats are called so, in every job again.
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        try:
            self._storage = RDBStorage(
                storage,
                heartbeat_interval=HEARTBEAT,
                grace_period=4 * HEARTBEAT,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
        except (ArgumentError, SQLAlchemyError, ImportError) as error:
            raise ValueError(f"cannot open the storage {storage}: {error}") from None
        self._jobs = self.study("jobs", "minimize")

    def study(self, key: str, direction: Direction) -> Study:
        """Optuna's study of this name, made where there is none."""
        import optuna

        return optuna.create_study(
            storage=self._storage, study_name=key, direction=direction, load_if_exists=True
        )

    def add(self, keys: Iterable[str]) -> None:
        """Let jobs wait that do not wait or run yet, and have no result."""
        known = {key for key, _ in self._trials("WAITING", "RUNNING", "COMPLETE")}
        for key in keys:
            if key not in known:
                self._jobs.enqueue_trial({}, user_attrs={"job": key})

    def take(self, compute: Callable[[str], Result]) -> bool:
        """Compute a waiting job, if there is one; keep its result, or why it failed.

        Args:
            compute: a job's key to its result.

        Returns:
            Whether one was taken.
        """
        from optuna import TrialPruned

        self.recover()
        if not self._trials("WAITING"):
            return False

        def objective(trial: Trial) -> float:
            key = trial.user_attrs.get("job")
            if key is None or self._taken_before(trial.number, key):
                raise TrialPruned  # others took what was waiting, or two have added the same
            try:
                result = compute(key)
            except Exception as error:
                trial.set_user_attr("error", f"{type(error).__name__}: {error}")
                raise
            trial.set_user_attr("result", result.to_line())
            return 0.0

        self._jobs.optimize(objective, n_trials=1, catch=(Exception,))
        return True

    def recover(self) -> None:
        """Let the jobs of workers that were killed wait again."""
        from optuna.storages import fail_stale_trials

        fail_stale_trials(self._jobs)

    def waiting(self) -> list[str]:
        """Keys of the jobs that nobody has taken."""
        return [key for key, _ in self._trials("WAITING")]

    def running(self) -> list[str]:
        """Keys of the jobs that workers have taken; some of these may have been killed."""
        return [key for key, _ in self._trials("RUNNING")]

    def results(self) -> dict[str, Result]:
        """By key."""
        return {
            key: Result.from_line(trial.user_attrs["result"])
            for key, trial in self._trials("COMPLETE")
        }

    def done(self) -> list[str]:
        """Keys of the jobs that have results."""
        return [key for key, _ in self._trials("COMPLETE")]

    def failures(self) -> dict[str, str]:
        """By key, why jobs have failed that did not succeed later."""
        failed = {
            key: trial.user_attrs["error"]
            for key, trial in self._trials("FAIL")
            if "error" in trial.user_attrs
        }
        for key, _ in self._trials("WAITING", "RUNNING", "COMPLETE"):
            failed.pop(key, None)
        return failed

    def _trials(self, *states: str) -> list[tuple[str, FrozenTrial]]:
        from optuna.trial import TrialState

        wanted = tuple(TrialState[state] for state in states)
        trials = self._jobs.get_trials(deepcopy=False, states=wanted)
        return [(t.user_attrs["job"], t) for t in trials if "job" in t.user_attrs]

    def _taken_before(self, number: int, key: str) -> bool:
        return any(
            other == key and trial.number < number
            for other, trial in self._trials("RUNNING", "COMPLETE")
        )
