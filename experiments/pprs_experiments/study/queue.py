"""The queue of jobs, in a database that workers on one or many machines share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pprs_experiments.study.job import Direction
from pprs_experiments.study.results import Result
from pprs_experiments.study.storage import open_storage

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState


class Standing(NamedTuple):
    """The jobs of a queue, by their keys.

    Args:
        waiting: nobody has taken them.
        running: workers have taken them; some of these may have been killed.
        done: they have results.
    """

    waiting: list[str]
    running: list[str]
    done: list[str]


def worker_name(process: int) -> str:
    """What a process of this machine is called in the queue."""
    return f"{socket.gethostname()}:{process}"


class Queue:
    """Jobs by their keys, each a trial of one study of Optuna: it waits, runs, or has its result.

    A worker that takes a job shows signs of life while it runs. The job of one that was killed
    waits again.

    Args:
        storage: URL of a database, as SQLAlchemy reads it.
        name: of the queue, one of several in the database.

    Raises:
        ValueError: if it cannot be opened.
    """

    def __init__(self, storage: str, name: str = "jobs") -> None:
        self._storage = open_storage(storage)
        self.storage, self.name = storage, name
        self._busy = False
        self._leaving: int | None = None
        self._jobs = self.study(name, "minimize")

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

    def withdraw(self, keys: Iterable[str]) -> None:
        """Let jobs no longer wait; what runs goes on."""
        gone = set(keys)
        self._end(trial for key, trial in self._trials("WAITING") if key in gone)

    def take(self, compute: Callable[[str], Result]) -> bool:
        """Compute a waiting job, if there is one; keep its result, or why it failed.

        Args:
            compute: a job's key to its result.

        Returns:
            Whether one was taken.
        """
        from optuna import TrialPruned

        self._recover()
        if not self._trials("WAITING"):
            return False
        taken: list[Trial] = []

        def objective(trial: Trial) -> float:
            taken.append(trial)
            try:
                key = trial.user_attrs.get("job")
                if key is None or self._taken_before(trial.number, key):
                    raise TrialPruned  # others took what was waiting, or two have added the same
                # Optuna's own thread is later, and without any sign of life no job counts as lost.
                self._storage.record_heartbeat(trial._trial_id)
                trial.set_user_attr("worker", worker_name(os.getpid()))
                self._claiming(False)
                trial.set_user_attr("result", compute(key).to_line())
            except TrialPruned:
                raise
            except Exception as error:
                trial.set_user_attr("error", f"{type(error).__name__}: {error}")
                raise
            return 0.0

        self._claiming(True)
        try:
            self._jobs.optimize(objective, n_trials=1, catch=(Exception,))
        except Exception:
            # Who showed no sign of life for too long finds its job ended and given to others.
            if not taken or not self._ended(taken[0]):
                raise
        finally:
            self._claiming(False)
        return True

    def leave(self, code: int) -> None:
        """End this process at once, for a handler of signals.

        But not before it has said that a job is its own, which nobody else could release; and
        without an exception, which Optuna would take for a failure of the job.
        """
        self._leaving = code
        if not self._busy:
            os._exit(code)

    def _claiming(self, busy: bool) -> None:
        self._busy = busy
        if not busy and self._leaving is not None:
            os._exit(self._leaving)

    def release(self, workers: Iterable[str]) -> list[str]:
        """End what workers have under way that are known to be gone.

        Returns:
            The keys of these jobs, which can be added again.
        """
        gone = set(workers)
        running = self._trials("RUNNING")
        lost = [(key, trial) for key, trial in running if trial.user_attrs.get("worker") in gone]
        self._end(trial for _, trial in lost)
        return [key for key, _ in lost]

    def _recover(self) -> None:
        """Let the jobs of workers that were killed wait again."""
        from optuna.storages import fail_stale_trials

        fail_stale_trials(self._jobs)

    def standing(self) -> Standing:
        """Which jobs wait, run, and are done."""
        trials = self._trials("WAITING", "RUNNING", "COMPLETE")

        def keys(state: str) -> list[str]:
            return [key for key, trial in trials if trial.state.name == state]

        return Standing(keys("WAITING"), keys("RUNNING"), keys("COMPLETE"))

    def results(self, keys: Iterable[str] | None = None) -> dict[str, Result]:
        """The results by key, of jobs that are done; all by default."""
        wanted = None if keys is None else set(keys)
        return {
            key: Result.from_line(trial.user_attrs["result"])
            for key, trial in self._trials("COMPLETE")
            if wanted is None or key in wanted
        }

    def failures(self) -> dict[str, str]:
        """The reasons by key, of jobs that failed and did not succeed later."""
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

    def _end(self, trials: Iterable[FrozenTrial]) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        for trial in trials:
            with suppress(UpdateFinishedTrialError):  # somebody else was faster
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _ended(self, trial: Trial) -> bool:
        state: TrialState = self._storage.get_trial(trial._trial_id).state
        return state.is_finished()

    def _taken_before(self, number: int, key: str) -> bool:
        return any(
            other == key and trial.number < number
            for other, trial in self._trials("RUNNING", "COMPLETE")
        )
