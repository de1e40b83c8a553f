"""The final figures of the runs, and the settings in which they differ."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pprs.report._folder import number
from pprs.report._lines import SEED, Method, names_of, title
from pprs.report._runs import AXES, Run
from pprs.report._table import Table, estimate, figure, setting

_WHERE = ("name", "out", "trace", "resume")  # where a run lies is no setting of it
_BUDGETS = {"pipeline_time": "At equal pipeline time", "seconds": "At equal wall time"}


def final_figures(runs: Sequence[Run], methods: Sequence[Method]) -> list[Table]:
    """What was measured last; of a comparison that has ended, its own figures at each budget."""
    tables: list[Table] = []
    own = {run.name: _compared(run, len(runs) > 1) for run in runs if run.kind == "compare"}
    rest = [method for method in methods if not any(own.get(run) for run in method.runs)]
    if rest:
        tables.append(_measured(rest))
    return tables + [table for some in own.values() for table in some]


def differing(runs: Sequence[Run], methods: Sequence[Method]) -> tuple[list[Table], list[Table]]:
    """The settings that differ between runs, and those that agree: of trainings, of comparisons.

    A row of the first is a method of `pprs train` with its seeds, or a comparison.
    """
    kinds = {kind: [run for run in runs if run.kind == kind] for kind in ("train", "compare")}
    apart = all(kinds.values())
    differ: list[Table] = []
    agree: list[Table] = []
    for kind, some in kinds.items():
        names = {run.name for run in some}
        rows = _rows(some, [m for m in methods if m.runs[0] in names])
        title = ("Trainings" if kind == "train" else "Comparisons") if apart else ""
        for tables, table in zip((differ, agree), _compared_settings(rows, title), strict=True):
            if table.rows:
                tables.append(table)
    return differ, agree


def _compared_settings(
    rows: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], title: str
) -> tuple[Table, Table]:
    names = list(dict.fromkeys(n for _, many in rows for each in many for n in each))
    values = {
        name: [list(dict.fromkeys(_said(each, name) for each in many)) for _, many in rows]
        for name in names
        if name not in _WHERE
    }
    differ = [n for n, found in values.items() if len({v for some in found for v in some}) > 1]
    agree = [[n, found[0][0]] for n, found in values.items() if n not in differ]
    cells = [
        [label, *(", ".join(values[n][i]) for n in differ)] for i, (label, _) in enumerate(rows)
    ]
    return (
        Table(["", *differ], cells if differ else [], title=title),
        Table(["setting", "value"], agree, title=title),
    )


def _rows(
    runs: Sequence[Run], methods: Sequence[Method]
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """A label and the settings of its runs; those without settings are left out."""
    of = {run.name: run for run in runs}
    rows: dict[str, list[Mapping[str, Any]]] = {}
    done: set[str] = set()
    for method in methods:
        new = [name for name in method.runs if name not in done]
        done |= {*new}
        label = method.label if of[method.runs[0]].kind == "train" else method.runs[0]
        if new:
            rows[label] = [of[name].read.settings for name in new]
    rows |= {run.name: [run.read.settings] for run in runs if run.name not in done}
    return [(label, some) for label, some in rows.items() if any(some)]


def _said(settings: Mapping[str, Any], name: str) -> str:
    return setting(settings[name]) if name in settings else "unset"


def _measured(methods: Sequence[Method]) -> Table:
    names = [n for n in names_of(methods) if n.endswith(("loss", "accuracy"))]
    axes = [a for a in AXES if any(a in curve.axes for m in methods for curve in m.curves)]
    several = any(len(m.curves) > 1 for m in methods)
    columns = ["", *(["seeds"] if several else []), *map(title, names), "steps"]
    columns += [AXES[a] for a in axes]
    rows = []
    for method in methods:
        curves = method.curves
        row = [method.label, *([f"{len(curves)}"] if several else [])]
        row += [_last(method, name) for name in names]
        row.append(_range([curve.steps[-1] for curve in curves]))
        for axis in axes:
            ends = [curve.axes[axis][-1] for curve in curves if axis in curve.axes]
            row.append(figure(statistics.fmean(ends)) if len(ends) == len(curves) else "–")
        rows.append(row)
    words = "The last values of each run; the batch loss is that of the last step's batch."
    if several:
        words += (
            " Of several seeds: the mean and its 95 % interval by Student's t; times are means."
        )
    else:
        words += " A single seed has no interval."
    return Table(columns, rows, words)


def _last(method: Method, name: str) -> str:
    values = [curve.last(name) for curve in method.curves if curve.values.get(name)]
    return estimate(values) if len(values) == len(method.curves) else "–"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return figure(low) if low == high else f"{figure(low)} to {figure(high)}"


def _compared(run: Run, several: bool) -> list[Table]:
    summary = run.read.summary
    methods, metric = _dict(summary.get("methods")), _dict(summary.get("metric"))
    name = metric.get("name") if isinstance(metric.get("name"), str) else "metric"
    tables = []
    for budget, words in _BUDGETS.items():
        rows = [row for m in methods.values() if (row := _row(_dict(m), budget))]
        if not rows:
            continue
        first = rows[0][0]
        columns = ["", "step size", "sigma", "steps", *AXES.values(), "training loss"]
        columns += [f"test {name}", f"difference from {first}"]
        level = number(summary.get("level"))
        of = "Means over the seeds ± their standard deviation; differences are paired by seed"
        of += f", with intervals of {level:.0%} for all of them together." if level else "."
        where = f"{run.name}: {words[0].lower()}{words[1:]}" if several else words
        tables.append(Table(columns, rows, of, where))
    return tables


def _row(method: Mapping[str, Any], budget: str) -> list[str]:
    at = _dict(_dict(method.get("at")).get(budget))
    if not at:
        return []
    row = [setting(method.get("label")), _size(at.get("lr"))]
    row += [figure(at.get(name)) for name in ("sigma", "steps", *AXES)]
    losses = at.get("train_loss")
    known = [number(v) for v in losses] if isinstance(losses, list) else []
    finite = [v for v in known if v is not None]
    row.append(
        figure(statistics.fmean(finite)) if finite and len(finite) == len(known) else "not finite"
    )
    spread = number(at.get("deviation"))
    row.append(figure(at.get("mean")) + ("" if spread is None else f" ± {figure(spread)}"))
    difference = _dict(at.get("difference"))
    if not difference:
        return [*row, "–"]
    low, high = (figure(difference.get(end)) for end in ("low", "high"))
    return [*row, f"{figure(difference.get('mean'))} ({low} to {high})"]


def _size(lr: object) -> str:
    return "searched" if lr is None else figure(lr)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


__all__ = ["SEED", "differing", "final_figures"]
