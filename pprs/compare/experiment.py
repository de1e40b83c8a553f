"""The whole comparison: measure, search, train every method with every seed, answer."""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from pprs.compare.amount import Amount, estimated, expected, fitted, wanted
from pprs.compare.choose import choose
from pprs.compare.config import CompareConfig
from pprs.compare.costs import Cost, corrected, ends, measured
from pprs.compare.methods import MethodName, Setting
from pprs.compare.run import BUDGETS, Budget, PlannedRun, Point, execute, runs_of
from pprs.compare.store import Plan, Store, opened
from pprs.compare.subject import Facts, Subject, facts
from pprs.io.notices import progress
from pprs.pipeline import LaunchError, LaunchInterrupted, check_world, joined, launch
from pprs.pipeline.communication import broadcast, gathered
from pprs.pipeline.launcher.signals import handled
from pprs.training.check import check
from pprs.training.ending import Interrupted
from pprs.training.learning import loss_function
from pprs.training.rank_log import RankLog, log_sizes, with_log
from pprs.training.user_errors import in_one_line
from pprs.training.user_functions import named

if TYPE_CHECKING:
    from pprs.compare.reporter import Reporter

_LONGER = 1.5  # times as many steps are worth another search


def compare(config: CompareConfig) -> None:
    """Compare the methods, in as many processes as the settings need.

    Args:
        config: the settings.

    Raises:
        ValueError: if anything is wrong that can be known before it starts.
        LaunchError: if a rank fails.
        Interrupted: after a signal; the runs that are finished are kept.
    """
    begun = time.time()
    if joined():
        check_world(config.processes)
    _check(config)
    if joined():
        start(config, None, begun)
        return
    folder, new = opened(config)
    progress(f"{'writing to' if new else 'going on in'} {folder}")
    logs = log_sizes(folder)
    try:
        start(config, folder, begun)
    except (LaunchInterrupted, _Signalled) as error:
        raise Interrupted(error.signal, _kept(folder, new)) from None
    except LaunchError as error:
        raise LaunchError(f"{with_log(error, folder, logs)}{_kept(folder, new=False)}") from None
    except ValueError:
        _kept(folder, new)
        raise


def start(config: CompareConfig, folder: Path | None, begun: float) -> None:
    """Begin the work, here or in processes of their own.

    Args:
        config: the settings.
        folder: to write to; torchrun's processes find one together.
        begun: when the command was started, in seconds since 1970.
    """
    if config.processes > 1 or joined():
        launch(_rank, config.processes, config, folder, begun)
    else:
        with _alone():
            _rank(config, folder, begun)


def _kept(folder: Path, new: bool) -> str:
    """What is kept of an unfinished comparison, in words; a new folder without a run is not."""
    runs = len({point.run for point in Store(folder).points})
    if runs:
        return f"; {runs} finished runs are kept in {folder}: the same command goes on from there"
    if not new:
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    return " before the first run was finished: nothing is kept"


def _check(config: CompareConfig) -> None:
    """Try what the settings name, and refuse what cannot be compared."""
    subject = Subject(config)
    if not config.model:
        for what, name in (("optimizer", config.optimizer), ("decay", config.decay)):
            if ":" in name:
                named(what, name)
        loss_function(config.chosen.loss)
        subject.held_out(config.seed) if config.chosen.trials > 1 else subject.parts(config.seed)
        return
    progress("checking the model and the data…")
    # Of all methods that smooth, the one that asks for most.
    asks: Sequence[MethodName] = ("searched", "smoothed", "pprs", "one-draw")
    for method in ("plain", *[name for name in asks if name in config.compared][:1]):
        setting = config.candidates(method, 1)[0]
        check(config.training(method, setting, 1, config.seed))
    facts(subject)


class _Signalled(KeyboardInterrupt):
    def __init__(self, received: signal.Signals) -> None:
        super().__init__(received.name)
        self.signal = received


@contextmanager
def _alone() -> Iterator[None]:
    """Inside, this process is a group by itself, and a signal ends the block."""

    def end(number: int, _: FrameType | None) -> None:
        raise _Signalled(signal.Signals(number))

    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        with handled(end, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
            yield
    except (ValueError, LaunchError):
        raise
    except Exception as error:  # as of a process that was started for it
        raise LaunchError(in_one_line(error), 0) from error
    finally:
        dist.destroy_process_group()


def _rank(config: CompareConfig, folder: Path | None, begun: float) -> None:
    """Be one of the processes; the first one writes and reports."""
    with ExitStack() as stack:
        if dist.get_rank() > 0:
            with RankLog(folder):
                _Comparison(config, None, begun).go()
            return
        # Only it imports what that needs: pictures, above all.
        from pprs.compare.reporter import Reporter

        store = Store(folder or opened(config)[0])
        reporter = stack.enter_context(Reporter(config, store, begun))
        stack.enter_context(RankLog(store.folder))
        _Comparison(config, reporter, begun).go()


class _Comparison:
    """A comparison under way, in one of its processes; all calls are collective."""

    def __init__(self, config: CompareConfig, reporter: Reporter | None, begun: float) -> None:
        self._config, self._reporter, self._begun = config, reporter, begun
        self._subject = Subject(config)
        self._found: Facts = facts(self._subject)
        self._alone: dist.ProcessGroup | None = None
        if (world := dist.get_world_size()) > 1:  # where it is 1, all are one alone
            self._alone = [dist.new_group([i]) for i in range(world)][dist.get_rank()]
        store = reporter.store if reporter else None
        self._plan: Plan = self._planned(broadcast(store.plan() if store else None, 0))
        self._points: list[Point] = broadcast(store.points if store else None, 0)
        self._took = 0.0  # seconds of runs
        self._ran: list[Sequence[PlannedRun]] = []  # those that went side by side

    def go(self) -> None:
        """Search, train, report."""
        if self._reporter:
            self._reporter.planned(self._found, self._plan, self._points)
        while not self._plan.tried:
            self._plan = self._planned_again(self._search(self._plan.amount))
            if self._reporter and self._plan.tried:
                self._reporter.planned_again(self._plan, self._points)
            elif self._reporter:
                self._reporter.planned(self._found, self._plan, self._points)
        amount = self._plan.amount
        searched = [point for point in self._points if point.phase == "search"]
        choices = choose(self._config, searched, self._found.metric, amount.trials)
        seeds = self._train(choices)
        if self._reporter:
            self._reporter.finish(replace(amount, seeds=seeds), choices, self._points)

    def _planned(self, kept: Plan | None) -> Plan:
        if kept is not None:
            return kept
        config, found = self._config, self._found
        costs, pace = self._measured(config.compared, self._measuring)
        left, before = broadcast((self._left(), time.time() - self._begun), 0)
        amount = fitted(config, found, costs, left, pace)
        return self._keep(Plan(costs, amount, pace, before))

    def _measured(
        self, methods: Sequence[MethodName], begins: Callable[[str], None]
    ) -> tuple[dict[MethodName, Cost], float]:
        alone = self._alone if self._config.in_a_run == 1 else None
        return measured(self._subject, methods, begins, alone)

    def _planned_again(self, trials: int) -> Plan:
        """What is trained after so many trials, by what these took: more steps or fewer.

        Or it is a plan of another search, where the time is enough for a fuller one.
        """
        plan, config, found = self._plan, self._config, self._found
        amount = replace(plan.amount, trials=trials)
        costs, pace = dict(plan.costs), plan.pace
        if config.in_a_run == 1:  # else trials were run in another way
            tried = [p for p in self._points if p.phase == "search"]
            costs = corrected(costs, tried)
            untried = [m for m in costs if tried and m not in {p.method for p in tried}]
            if untried:  # as the searched step, which was measured but once
                again, _ = self._measured(untried, lambda _: None)
                costs |= {m: min(costs[m], again[m], key=lambda cost: cost.step) for m in untried}
            if self._ran:
                pace = self._took / sum(
                    max(expected(config, costs[run.method], run.steps) for run in some)
                    for some in self._ran
                )
        whole = trials == plan.amount.trials > 1
        fuller = self._fuller(plan.amount, costs, pace) if whole else None
        if fuller is not None:
            new = replace(plan, costs=costs, amount=fuller, pace=pace)
        else:
            amount = fitted(config, found, costs, self._left(), pace, amount)
            new = replace(plan, costs=costs, amount=amount, pace=pace, tried=plan.amount.steps)
        return self._keep(broadcast(new, 0))

    def _fuller(
        self, amount: Amount, costs: Mapping[MethodName, Cost], pace: float
    ) -> Amount | None:
        """More trials, or trials of many more steps, if what is left of the time is enough."""
        try:
            new = fitted(self._config, self._found, costs, self._left(), pace)
        except ValueError:
            return None
        more = new.trials > amount.trials and new.steps >= amount.steps
        longer = new.steps >= _LONGER * amount.steps and new.trials >= amount.trials
        return new if more or longer else None

    def _keep(self, plan: Plan) -> Plan:
        if self._reporter:
            self._reporter.store.keep(plan)
        return plan

    def _measuring(self, what: str) -> None:
        if self._reporter:
            self._reporter.measuring(what)
        if self._is_late(0.0):
            raise ValueError(
                f"--time {self._config.chosen.time} is not enough: it has passed before a step of "
                f"each method was measured ({what} came next); give more, or fewer --methods or "
                f"--samples"
            )

    def _search(self, amount: Amount) -> int:
        """Run the trials; how many each method had."""
        if amount.trials == 1:
            return 1
        _, training = estimated(self._config, self._found, self._plan.costs, amount)
        training *= self._plan.pace
        for trial in range(amount.trials):
            self._all(list(self._trials(amount, trial)), alone=True)
            if self._is_late(training) and trial + 1 < amount.trials:
                return trial + 1
        return amount.trials

    def _trials(self, amount: Amount, trial: int) -> Iterator[PlannedRun]:
        for method in self._config.compared:
            tried = self._config.candidates(method, amount.trials)
            for seed in range(amount.tuning_seeds if len(tried) > 1 else 0):
                settings: dict[Budget, Setting] = dict.fromkeys(BUDGETS, tried[trial])
                yield from runs_of(
                    self._config, "search", method, settings, self._ends[method], seed
                )

    def _train(self, choices: Mapping[MethodName, Mapping[Budget, Setting]]) -> int:
        """Train all methods with each seed, as long as there is time; with how many."""
        config, plan = self._config, self._plan
        abreast = dist.get_world_size() if config.in_a_run == 1 else 1
        seeds = wanted(config, self._found).seeds
        once = replace(plan.amount, seeds=1)
        took = estimated(config, self._found, plan.costs, once)[1] * plan.pace
        for seed in range(0, seeds, abreast):
            start, before = time.monotonic(), len(self._points)
            done = min(seed + abreast, seeds)
            for method, settings in choices.items():
                runs = [
                    run
                    for each in range(seed, done)
                    for run in runs_of(
                        self._config, "train", method, settings, self._ends[method], each
                    )
                ]
                # Side by side go those that take the same time.
                self._all(sorted(runs, key=lambda run: run.steps), alone=abreast > 1)
            if len(self._points) > before:
                took = time.monotonic() - start
            if done < seeds and self._is_late(took):
                return done
        return seeds

    def _all(self, runs: Sequence[PlannedRun], *, alone: bool) -> None:
        """What is not finished yet of some runs: each by one process alone, or by all together."""
        pending = [run for run in runs if not any(point.run == run.key for point in self._points)]
        abreast = dist.get_world_size() if alone else 1
        rank, depth = dist.get_rank(), self._found.depth
        start = time.monotonic()
        for i in range(0, len(pending), abreast):
            some = pending[i : i + abreast]
            self._ran.append(some)
            if not alone:
                self._add(some[0], execute(self._subject, some[0], depth))
                continue
            mine = some[rank : rank + 1]
            points = [execute(self._subject, run, depth, alone=self._alone) for run in mine]
            for run, (found,) in zip(some, gathered(points), strict=False):
                self._add(run, found)
        self._took += time.monotonic() - start

    @property
    def _ends(self) -> dict[MethodName, dict[Budget, int]]:
        return ends(self._config, self._found, self._plan.costs, self._plan.amount.steps)

    def _add(self, run: PlannedRun, points: Sequence[Point]) -> None:
        self._points = [*self._points, *points]
        if self._reporter:
            self._reporter.ran(run, points)

    def _left(self) -> float:
        return self._config.limit - (time.time() - self._begun)

    def _is_late(self, needed: float) -> bool:
        """Whether the time that is left is less than needed, as the first process says."""
        if math.isinf(self._config.limit):
            return False
        late: bool = broadcast(self._left() < needed, 0)
        return late
