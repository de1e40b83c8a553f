"""The figures of the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from pprs_experiments.study.cell import Spent
from pprs_experiments.study.intervals import Interval
from pprs_experiments.study.report import words
from pprs_experiments.study.report.comparing import FEWEST, FIXED_DRAWS, Contest, kind
from pprs_experiments.study.report.drawing import (
    BETTER,
    canvas,
    legend_outside,
    spreads,
    styles,
    title,
)
from pprs_experiments.study.report.sweeps import Sweep
from pprs_experiments.study.report.tables import estimate, ordered, title_of
from pprs_experiments.study.report.words import BUDGETS, Measure
from pprs_experiments.study.results import Result, SeedRun

_PALE: Mapping[str, Any] = {"color": "#c8c8c8", "lw": 0.8, "zorder": 1}
_POINTS = 30  # of a curve
_HOW = "interquartile mean, 95 % interval"
_PER_FIGURE = 8  # lines with a legend that can still be read


def by_samples(contests: Sequence[Contest], measure: Measure) -> list[Figure]:
    """What methods of a fixed K reach, against K: one line for each cell and variant."""
    lines: dict[tuple[str, str], list[tuple[int, Interval]]] = {}
    for contest in contests:
        for name, result in contest.results.items():
            fixed = FIXED_DRAWS.fullmatch(name)
            if fixed and contest.measure == measure and len(result.runs) >= FEWEST:
                key = contest.name, f"pprs{fixed[2]}"
                lines.setdefault(key, []).append((int(fixed[1]), estimate(result.values)))
    drawn = [(key, sorted(line, key=lambda at: at[0])) for key, line in lines.items() if line[1:]]
    parts = [drawn[i : i + _PER_FIGURE] for i in range(0, len(drawn), _PER_FIGURE)]
    return [_by_samples(part, measure, common) for part, common in ((p, _common(p)) for p in parts)]


_Line = tuple[tuple[str, str], list[tuple[int, Interval]]]


def _common(lines: Sequence[_Line]) -> str:
    return words.shortened(cell for (cell, _), _ in lines)[0]


def _by_samples(lines: Sequence[_Line], measure: Measure, common: str) -> Figure:
    figure, axes = canvas(8.5, 3.6)
    _, short = words.shortened(cell for (cell, _), _ in lines)
    several = len({variant for (_, variant), _ in lines}) > 1
    axes.set_xscale("log", base=2)
    for i, style in enumerate(styles(len(lines))):
        (cell, variant), points = lines[i]
        points = [(k * 1.03 ** (i - len(lines) / 2), found) for k, found in points]
        name = f"{short[cell]}: {words.label(variant)}" if several else short[cell]
        _with_intervals(axes, points, _scale(measure), {**style, "label": name})
    sizes = sorted({k for _, points in lines for k, _ in points})
    axes.set_xticks(sizes, [str(k) for k in sizes])
    axes.set(xlabel="draws K averaged in each step", ylabel=measure.name)
    if measure.better == "lower" or measure.timed:
        _log_if_spread(axes, [e.value for _, points in lines for _, e in points])
    legend_outside(axes)
    what = f"{measure.name} against the draws averaged"
    how = f"{_HOW}; no point where never reached" if measure.timed else _HOW
    title(figure, what[0].upper() + what[1:], common, how)
    return figure


def curves(contest: Contest) -> Figure:
    """The training loss against what is spent, the median over seeds, of all methods."""
    figure, axes = canvas(8.5, 4.2)
    seen: list[float] = []
    drawn = _styled([contest], contest.results)
    for name, style in drawn.items():
        points = _medians(contest.results[name], contest.spent)
        seen += [loss for _, loss in points]
        axes.plot(*zip(*points, strict=True), **{**style, "marker": ""})
    axes.set(xlabel=BUDGETS[contest.spent], ylabel="training loss")
    _log_if_spread(axes, seen)
    legend_outside(axes)
    where = ", ".join(contest.name.split("/"))
    title(figure, f"Training loss against {BUDGETS[contest.spent]}", where, "median over seeds")
    return figure


def _styled(contests: Sequence[Contest], methods: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Each method's line: pale for all smoothed ones but the best of a kind in most contests."""
    named = [name for name in ordered(set(methods)) if kind(name) == "rival"]
    for smoothing in ("pprs", "one-draw", "default"):
        those = {name for name in methods if kind(name) == smoothing}
        chosen = (contest.best(those.__contains__) for contest in contests)
        best = Counter(result.method for result in chosen if result is not None)
        named = [*(name for name, _ in best.most_common(1)), *named]
    found = dict.fromkeys(ordered(set(methods) - set(named)), _PALE)
    if found:
        first = next(iter(found))
        found[first] = {**_PALE, "label": "others that smooth"}
    bold = {"lw": 2.2}
    for name, style in zip(named, styles(len(named)), strict=True):
        wide = {} if kind(name) == "rival" else bold
        found[name] = {**style, **wide, "label": words.label(name)}
    return found


def _medians(result: Result, spent: Spent) -> list[tuple[float, float]]:
    """Over the seeds; one that is at its target keeps its loss, one that diverged has none."""
    at = 0 if spent == "time" else 1
    places = sorted({point[at] for run in result.runs for point in run.history})
    kept = [*places[: -1 : 1 + len(places) // _POINTS], *places[-1:]]
    losses = [[_loss(run, at, place) for place in kept] for run in result.runs]
    medians = [median(each) for each in zip(*losses, strict=True)]
    found = [(x, y) for x, y in zip(kept, medians, strict=True) if y < math.inf]
    return found or [(math.nan, math.nan)]


def _loss(run: SeedRun, at: int, place: float) -> float:
    """The last loss measured before a given budget was spent."""
    if run.diverged and place > run.history[-1][at]:
        return math.inf
    return next((point[2] for point in reversed(run.history) if point[at] <= place), math.inf)


def by_size(sweep: Sweep) -> Figure:
    """Outcomes against a setting, one line for each method, on logarithmic axes for times."""
    measure = sweep.contests[0].measure
    figure, axes = canvas(8.5, 4.6)
    _logarithmic(axes, x=min(sweep.sizes) > 0, y=measure.timed)
    for name, style in _styled(sweep.contests, sweep.methods).items():
        points = [(s, estimate(r.values)) for s, r in sweep.of(name) if len(r.runs) >= FEWEST]
        _with_intervals(axes, points, _scale(measure), style)
    axes.set_xticks(sweep.sizes, [f"{size:g}" for size in sweep.sizes])
    axes.set(xlabel=words.setting_label(sweep.setting), ylabel=measure.name)
    legend_outside(axes)
    what = f"{measure.name} against {words.setting_label(sweep.setting)}"
    how = _HOW
    if measure.timed:
        how += f"; target {sweep.contests[0].goal.target:g}; no point where never reached"
    title(figure, what[0].upper() + what[1:], title_of(sweep), how)
    return figure


def accelerated(rows: Sequence[tuple[float, float, float]]) -> Figure:
    """Times of pipelined AGD on smooth convex functions, and the lower bound, against depth."""
    figure, axes = canvas(7, 3.8)
    depths, times, bounds = zip(*sorted(rows), strict=True)
    _logarithmic(axes, x=True, y=True)
    axes.plot(depths, times, "o-", color=BETTER, ms=4, label="pipelined AGD")
    axes.plot(depths, bounds, "k--", lw=1, label="lower bound")
    axes.set(xlabel="depth Δ", ylabel="pipeline time to ε")
    axes.set_xticks(depths, [f"{depth:g}" for depth in depths])
    legend_outside(axes)
    title(figure, "Pipelined AGD on a smooth convex function: pipeline time to ε against depth")
    return figure


def _with_intervals(
    axes: Axes,
    points: Sequence[tuple[float, Interval]],
    scale: float,
    style: Mapping[str, Any],
) -> None:
    """A line through estimates; those without one leave a gap, open ends go to the estimate."""
    known = [(x, e) for x, e in points if math.isfinite(e.value)]
    below = [scale * _finite(e.value - e.low) for _, e in known]
    above = [scale * _finite(e.high - e.value) for _, e in known]
    axes.errorbar(
        [x for x, _ in known],
        [scale * e.value for _, e in known],
        yerr=[below, above],
        elinewidth=0.8,
        capsize=2,
        **style,
    )


def _logarithmic(axes: Axes, *, x: bool, y: bool) -> None:
    """Before anything is drawn: later the limits of a single value would be in the way."""
    if x:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if y:
        axes.set_yscale("log")


def _finite(length: float) -> float:
    return length if math.isfinite(length) else 0.0


def _scale(measure: Measure) -> float:
    return 100.0 if not measure.timed and measure.better == "higher" else 1.0


def _log_if_spread(axes: Axes, values: Sequence[float]) -> None:
    if spreads(values):
        axes.set_yscale("log")
