"""Shows and writes what happens in a comparison, in the first process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console

from pprs.compare.amount import Amount, estimated, expected, shown, wanted
from pprs.compare.answer import answer, command
from pprs.compare.baseline import weak_search
from pprs.compare.config import CompareConfig
from pprs.compare.costs import ends
from pprs.compare.plot import plot_curves
from pprs.compare.progress import Advance
from pprs.compare.result import Choices, Result
from pprs.compare.run import PlannedRun, Point
from pprs.compare.store import Plan, Store
from pprs.compare.subject import Facts
from pprs.compare.summary import as_data
from pprs.compare.tables import tables


class Reporter:
    """Writes the folder while the comparison goes on, with a progress bar on a terminal.

    Args:
        config: the settings.
        store: what is kept.
        begun: when the command was started, in seconds since 1970.
    """

    def __init__(self, config: CompareConfig, store: Store, begun: float) -> None:
        self.store = store
        self._config, self._begun = config, begun
        self._advance = Advance(Console())
        self._found: Facts
        self._plan: Plan

    def __enter__(self) -> Reporter:
        limit = "" if self._config.chosen.time is None else f", in {self._config.chosen.time}"
        many = len(self._config.compared)
        self._advance.say(
            f"{self._config.task}: comparing {many} methods{limit}; measuring a step of each…"
        )
        self._advance.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._advance.__exit__(kind, error, trace)
        self.store.close()
        plan = getattr(self, "_plan", None)
        if plan is not None:
            self.store.keep(plan, self._spent)

    def measuring(self, what: str) -> None:
        """What is done before anything can be planned."""
        self._advance.measuring(what)

    def planned(self, found: Facts, plan: Plan, points: Sequence[Point]) -> None:
        """All is measured, and it begins."""
        self._found = found
        self._begin(plan, points)
        less = plan.amount.less_than(wanted(self._config, found))
        if less:
            self._advance.say(
                f"--time {self._config.chosen.time} seems enough for {', '.join(less)}"
            )

    def planned_again(self, plan: Plan, points: Sequence[Point]) -> None:
        """The search has ended, and what it took says how much is trained."""
        if plan.amount.trials > 1:
            self._advance.say(
                f"{plan.amount.trials} trials of each method on held-out examples are done"
            )
        self._begin(plan, points)

    def _begin(self, plan: Plan, points: Sequence[Point]) -> None:
        self._plan, amount = plan, plan.amount
        search, training = estimated(self._config, self._found, plan.costs, amount)
        searches = amount.trials > 1 and not plan.tried
        phases = ("train", "search") if searches else ("train",)
        paid = ends(self._config, self._found, plan.costs, amount.steps)
        last = {method: max(steps.values()) for method, steps in paid.items()}
        ended = [p for p in points if p.step == p.of and p.phase in phases]
        counted = (p for p in ended if p.phase == "train" or p.of == last[p.method])
        done = sum(map(self._seconds, counted))
        left = max(0.0, (training + (search if searches else 0.0)) * plan.pace - done)
        self._advance.begin(left)
        trials = f"{amount.trials} trials of each, then " if searches else ""
        self._advance.say(
            f"{trials}{amount.seeds} seeds, {amount.steps} steps of {self._config.label('plain')} "
            f"or what takes as long: about {shown(left)}"
        )

    def ran(self, run: PlannedRun, points: Sequence[Point]) -> None:
        """A run has ended."""
        self.store.add(points)
        setting, label = run.setting, self._config.label(run.method)
        what = f"{label}, seed {run.seed}"
        if run.phase == "search":
            what = f"search: {label}, step size {setting.lr:g}"
        self._advance.did(what, self._seconds(points[-1]))

    def finish(self, ran: Amount, choices: Choices, points: Sequence[Point]) -> None:
        """Everything has ended: write the summary and the curves, show tables and answer."""
        self._advance.__exit__(None, None, None)
        result = Result(self._config, self._found, self._plan, ran, choices, points)
        sentence = answer(result)
        self.store.finish(as_data(result, sentence, self._spent))
        folder = self.store.folder
        plot_curves(result, folder / "curves.png")
        for table in tables(result):
            self._advance.console.print(table)
        for line in (*result.left_out, *weak_search(result)):
            self._advance.say(line)
        self._advance.say(sentence)
        if line := command(result):
            self._advance.say(f"\n{line}\n")
        files = "summary.json, metrics.jsonl, curves.png" + self._report()
        self._advance.say(f"{self._spent:.0f} s; {folder} has {files}")

    def _report(self) -> str:
        """Write the report and return its name; whatever goes wrong there changes no answer."""
        from pprs.report import write

        try:
            return f" and {write(self.store.folder).name}"
        except Exception as error:
            self._advance.say(f"there is no report: {error or type(error).__name__}")
            return ""

    def _seconds(self, point: Point) -> float:
        """That were expected for a run, by its last point."""
        return expected(self._config, self._plan.costs[point.method], point.of) * self._plan.pace

    @property
    def _spent(self) -> float:
        return self.store.spent + time.time() - self._begun
