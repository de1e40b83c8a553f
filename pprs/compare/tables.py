"""The tables that a comparison ends with."""

from __future__ import annotations

import math

from rich import box
from rich.table import Table

from pprs.compare.answer import milliseconds, size
from pprs.compare.doubt import doubt
from pprs.compare.figures import POINTS, difference_in_words
from pprs.compare.methods import Setting
from pprs.compare.result import Result, Row
from pprs.compare.run import BUDGETS, Budget


def tables(result: Result) -> list[Table]:
    """What a step costs, and each budget."""
    return [_steps(result), *(_budget(result, budget) for budget in BUDGETS)]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE, padding=(0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    return table


def _steps(result: Result) -> Table:
    found = result.found
    title = (
        f"A step, and what was chosen; pipeline time in units: a pass through one of {found.depth} "
        f"nodes ({found.counted}) takes 1"
    )
    table = _table(title, "method", "K", "units", "seconds", "memory", "lr, sigma", "by time")
    for method, settings in result.choices.items():
        cost = result.plan.costs[method]
        table.add_row(
            result.config.label(method),
            f"{result.config.samples_of(method)}",
            f"{result.step_time(method)}",
            milliseconds(cost.step),
            size(cost.memory),
            *(_setting(settings[budget]) for budget in BUDGETS),
        )
    return table


def _setting(setting: Setting) -> str:
    size = "search" if setting.lr is None else f"{setting.lr:g}"
    return f"{size}, {setting.sigma:g}" if setting.sigma else size


def _budget(result: Result, budget: Budget) -> Table:
    budgets = result.budgets
    title = (
        f"At equal pipeline time, {budgets['pipeline_time']:,} units"
        if budget == "pipeline_time"
        else f"At equal wall time, {budgets['seconds']:.3g} s"
    )
    metric = result.found.metric
    title += f"; better by, in {POINTS} (of 100)" if metric == "accuracy" else ""
    columns = "method", "steps", "grads", "units", "seconds", metric, "better by"
    table = _table(title, *columns)
    best = "" if doubt(result, budget) else result.best(budget)
    for method, row in result.rows(budget).items():
        first = row.points[0]
        cells = [
            result.config.label(method),
            f"{first.step:,}",
            f"{first.evaluations:,}",
            f"{first.pipeline_time:,}",
            f"{row.seconds:.3g}",
            _reached(row),
            _ahead(row),
        ]
        table.add_row(*cells, style="bold" if method == best else "")
    return table


def _reached(row: Row) -> str:
    if not math.isfinite(row.mean):
        return "diverged"
    return f"{row.mean:.1%}" if row.metric == "accuracy" else f"{row.mean:.4g}"


def _ahead(row: Row) -> str:
    if row.ahead is None or math.isnan(row.ahead.mean):
        return ""
    mean, low, high = difference_in_words(row.ahead, row.metric)
    return f"{mean} ({low}, {high})"
