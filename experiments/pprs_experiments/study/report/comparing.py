"""The comparisons of methods with their rivals, and the verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from pprs_experiments.study.cell import Goal, Spent
from pprs_experiments.study.report.words import Measure
from pprs_experiments.study.results import Result
from pprs_experiments.study.statistics import Array, differences
from pprs_experiments.study.verdicts import Verdict, verdicts

Kind: TypeAlias = Literal["pprs", "one-draw", "default", "part", "rival"]
FEWEST = 2  # seeds that say anything of chance
FEWEST_CELLS = 6  # as units, that can show a difference at 5 %
FIXED_DRAWS = re.compile(r"(?:pprs-)?k-?(\d+)(.*)")
_STARTS: tuple[tuple[str, Kind], ...] = (
    ("pprs", "pprs"),
    ("one-draw", "one-draw"),
    ("default", "default"),
    ("k-", "part"),  # a fixed number of draws
    ("no-momentum", "part"),
)


def kind(method: str) -> Kind:
    """The kind of a method, by its name: every method that does not smooth is a rival."""
    return next((found for start, found in _STARTS if method.startswith(start)), "rival")


@dataclass(frozen=True)
class Contest:
    """The methods in one cell.

    Args:
        name: of the cell.
        spent: what its budget is of.
        goal: by what it is judged.
        questions: that it is for.
        task: its settings.
        results: by the names of the methods, sorted.
    """

    name: str
    spent: Spent
    goal: Goal
    questions: tuple[int, ...]
    task: Mapping[str, Any]
    results: Mapping[str, Result]

    @property
    def measure(self) -> Measure:
        """What is measured."""
        return Measure.of(self.goal, self.spent)

    def best(self, eligible: Callable[[str], bool]) -> Result | None:
        """The best of the methods with eligible names; of equal ones the first by name.

        It is chosen by its value in tuning. Chosen by the outcomes that are compared, it would
        owe some of its lead to chance.
        """
        sign = 1 if self.goal.better_value == "higher" else -1
        among = [result for name, result in self.results.items() if eligible(name)]
        return max(among, key=lambda result: sign * result.tuned, default=None)

    def best_of(self, wanted: Kind) -> Result | None:
        """The best of a kind."""
        return self.best(lambda name: kind(name) == wanted)


def contests(results: Iterable[Result]) -> list[Contest]:
    """Results by cells, sorted by name, with numbers in it by their size, and budget.

    Raises:
        ValueError: for two results of a method in a cell, or goals that differ within one.
    """
    grouped: dict[tuple[str, Spent], dict[str, Result]] = {}
    for result in sorted(results, key=_order):
        methods = grouped.setdefault((result.cell, result.spent), {})
        if result.method in methods:
            raise ValueError(
                f"results must hold one result for each cell and method, got two of "
                f"{result.method} in {result.cell} ({result.spent}): leave one out"
            )
        methods[result.method] = result
    found = []
    for (name, spent), methods in grouped.items():
        first = next(iter(methods.values()))
        if any(each.goal != first.goal for each in methods.values()):
            raise ValueError(f"results in {name} ({spent}) must have one goal, got several")
        found.append(Contest(name, spent, first.goal, first.questions, first.task, methods))
    return found


def _order(result: Result) -> tuple[list[tuple[str, float]], Spent, str]:
    parts = re.split(r"(\d+)", result.cell)
    named = [("", float(part)) if part.isdecimal() else (part, 0.0) for part in parts]
    return named, result.spent, result.method


@dataclass(frozen=True)
class Comparison:
    """A method and its rival in a cell.

    Args:
        contest: the cell.
        method: its result.
        rival: its result.
        gains: what the method has more than its rival of what is good, for each seed that both
            ran: a difference, or for times the logarithm of the rival's over its own.
    """

    contest: Contest
    method: Result
    rival: Result
    gains: Array

    @classmethod
    def of(cls, contest: Contest, method: Result, rival: Result) -> Comparison:
        """Compare two methods, seed by seed."""
        return cls(contest, method, rival, paired_gains(contest.goal, method, rival))


def paired_gains(goal: Goal, method: Result, rival: Result) -> Array:
    """See `Comparison`; empty where there are too few seeds to pair."""
    ours, theirs = ({run.seed: run.value for run in each.runs} for each in (method, rival))
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < FEWEST:
        return np.empty(0)
    pair = [np.array([each[seed] for seed in seeds]) for each in (ours, theirs)]
    if goal.target is not None:
        with np.errstate(divide="ignore"):  # a target that was met from the start took no time
            pair = [np.log(times) for times in pair]
    sign = 1 if goal.better_value == "higher" else -1
    return differences([sign * pair[0]], [sign * pair[1]])[0]


Chooser: TypeAlias = Callable[[Contest], Result | None]


@dataclass(frozen=True)
class Family:
    """Comparisons that answer one question together.

    Args:
        each: the comparisons of single cells, with verdicts corrected for their number.
        together: for each measure, the verdict on its cells taken together.
        by_cells: the same with cells as units: a method is tuned once in a cell, and its seeds
            share the luck of that.
        left_out: cells without a comparison, and why.
    """

    each: tuple[tuple[Comparison, Verdict], ...] = ()
    together: Mapping[Measure, Verdict] = field(default_factory=dict)
    by_cells: Mapping[Measure, Verdict] = field(default_factory=dict)
    left_out: tuple[tuple[Contest, str], ...] = ()

    def overall(self, measure: Measure) -> dict[str, Verdict]:
        """The verdicts on all cells of a measure, by what they are called."""
        found = {"all together": self.together[measure]}
        if self.enough(measure):
            found["all, by cells"] = self.by_cells[measure]
        return found

    def enough(self, measure: Measure) -> bool:
        """Whether there are as many cells as can show anything with cells as units."""
        return len(self.of(measure)) >= FEWEST_CELLS

    def of(self, measure: Measure) -> list[tuple[Comparison, Verdict]]:
        """The comparisons of a measure."""
        return [pair for pair in self.each if pair[0].contest.measure == measure]


def compare(
    among: Sequence[Contest], method: Chooser, rival: Chooser, *, draws: int = 4000
) -> Family:
    """Compare a method with a rival in each cell, and over all cells.

    Args:
        among: cells that draw their problems independently: of one budget, since the two budgets
            of a name share theirs.
        method: chooses the method in a cell.
        rival: chooses the rival in a cell.
        draws: of the bootstrap.
    """
    found: dict[int, Comparison] = {}
    left_out: list[tuple[Contest, str]] = []
    for number, contest in enumerate(among):
        ours, theirs = method(contest), rival(contest)
        if ours is None or theirs is None:
            left_out.append((contest, "no such method" if ours is None else "no rival"))
            continue
        comparison = Comparison.of(contest, ours, theirs)
        if comparison.gains.size:
            found[number] = comparison
        else:
            left_out.append((contest, "fewer than two seeds in common"))
    single = verdicts(
        {number: [each.gains] for number, each in found.items()}, better="higher", draws=draws
    )
    strata: dict[Measure, list[Array]] = {}
    for each in found.values():
        strata.setdefault(each.contest.measure, []).append(each.gains)
    return Family(
        each=tuple((each, single[number]) for number, each in found.items()),
        together=verdicts(strata, better="higher", draws=draws),
        by_cells=verdicts(strata, better="higher", draws=draws, unit="cell"),
        left_out=tuple(left_out),
    )


def against_rivals(among: Sequence[Contest], *, draws: int = 4000) -> Family:
    """The best of PPRS against the best rival."""
    return compare(among, pprs, _rival, draws=draws)


def averaging(among: Sequence[Contest], *, draws: int = 4000) -> Family:
    """The best that averages several draws against the best that takes one for each step."""
    return compare(among, _averaged, _one_draw, draws=draws)


def one_draw(among: Sequence[Contest], *, draws: int = 4000) -> Family:
    """The best that takes one perturbed draw for each step against the best rival."""
    return compare(among, _one_draw, _rival, draws=draws)


def pprs(contest: Contest) -> Result | None:
    """The best of PPRS."""
    return contest.best_of("pprs")


def _one_draw(contest: Contest) -> Result | None:
    return contest.best_of("one-draw")


def _rival(contest: Contest) -> Result | None:
    return contest.best_of("rival")


def named(method: str) -> Chooser:
    """A method by its name."""
    return lambda contest: contest.results.get(method)


def _averaged(contest: Contest) -> Result | None:
    return contest.best(lambda name: kind(name) == "pprs" and not _one(name))


def _one(method: str) -> bool:
    fixed = FIXED_DRAWS.fullmatch(method)
    return fixed is not None and fixed[1] == "1"


def in_pairs(
    among: Sequence[Contest], pairs: Mapping[str, str], *, draws: int = 4000
) -> dict[tuple[str, str, Measure], Verdict]:
    """The verdicts on pairs of methods, each over all cells that ran both.

    Args:
        among: as in `compare`.
        pairs: methods and their rivals.
        draws: of the bootstrap.

    Returns:
        For each pair and measure the verdict, corrected for the number of both.
    """
    strata: dict[tuple[str, str, Measure], list[Array]] = {}
    for contest in among:
        for method, rival in pairs.items():
            if method in contest.results and rival in contest.results:
                ours, theirs = contest.results[method], contest.results[rival]
                found = paired_gains(contest.goal, ours, theirs)
                if found.size:
                    strata.setdefault((method, rival, contest.measure), []).append(found)
    return verdicts(strata, better="higher", draws=draws)


def with_one_draw(among: Iterable[Contest]) -> dict[str, str]:
    """Methods that average, and the same with one draw: with a tuned K, and with a fixed one."""
    names = sorted({name for contest in among for name in contest.results})
    found = {name: re.sub(r"^pprs", "one-draw", name) for name in names if kind(name) == "pprs"}
    for name in names:
        if fixed := FIXED_DRAWS.fullmatch(name):
            found[name] = name.replace(f"k{fixed[1]}", "k1").replace(f"k-{fixed[1]}", "k-1")
    return {name: one for name, one in found.items() if one in names and one != name}


def without_smoothing(among: Iterable[Contest]) -> dict[str, str]:
    """Methods that smooth, and the same step without: Adam's, or Nesterov's."""
    names = sorted({name for contest in among for name in contest.results})
    smoothed = [name for name in names if kind(name) in ("pprs", "one-draw")]
    return {name: "adam" if name.endswith("-adam") else "agd" for name in smoothed}
