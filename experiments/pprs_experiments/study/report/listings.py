"""What was tuned and run: tables for looking things up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from pprs_experiments.study.report import words
from pprs_experiments.study.report.comparing import Contest, kind, pprs
from pprs_experiments.study.report.tables import Table, ordered
from pprs_experiments.study.report.words import BUDGETS
from pprs_experiments.study.results import Result


def tuned(contests: Sequence[Contest]) -> list[Table]:
    """What the variants of PPRS were tuned to, and how often each was the best in tuning."""
    names = ordered({n for c in contests for n in c.results if kind(n) == "pprs"})
    best = Counter(result.method for c in contests if (result := pprs(c)) is not None)
    rows = []
    for name in names:
        results = [contest.results[name] for contest in contests if name in contest.results]
        found = [each.hyperparameters for each in results]
        rows.append(
            (
                words.label(name),
                str(len(results)),
                str(best[name]),
                *(_spread([h[key] for h in found if key in h]) for key in ("sigma", "samples")),
            )
        )
    header = ("variant", "cells", "best in tuning", "σ: median [range]", "K: median [range]")
    title = "Variants of PPRS, and what they were tuned to"
    return [Table(title, header, tuple(rows))] if rows else []


def _spread(numbers: Sequence[float]) -> str:
    if not numbers:
        return "–"
    return f"{median(numbers):.3g} [{min(numbers):.3g}, {max(numbers):.3g}]"


def ran(contests: Sequence[Contest]) -> Table:
    """What was computed, cell by cell."""
    rows = []
    for contest in contests:
        results = contest.results.values()
        seeds = sorted({len(each.runs) for each in results})
        trials = sorted({each.trials for each in results})
        rows.append(
            (
                contest.name,
                BUDGETS[contest.spent],
                str(len(contest.results)),
                " or ".join(map(str, seeds)),
                " or ".join(map(str, trials)),
                f"{sum(each.seconds for each in results) / 3600:.2f}",
            )
        )
    header = ("cell", "budget", "methods", "seeds", "trials of tuning", "hours")
    return Table("What was run", header, tuple(rows), long=True)


def hyperparameters(contests: Sequence[Contest]) -> Table:
    """What each method was tuned to in each cell."""
    rows = tuple(
        (contest.name, BUDGETS[contest.spent], words.label(name), _settings(result))
        for contest in contests
        for name, result in contest.results.items()
    )
    return Table("Tuned hyperparameters", ("cell", "budget", "method", "tuned to"), rows, long=True)


def _settings(result: Result) -> str:
    return ", ".join(
        f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in result.hyperparameters.items()
    )
