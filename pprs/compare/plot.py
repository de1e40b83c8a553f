"""The curves of a comparison: the metric against pipeline time and against seconds."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pprs.compare.result import Result
from pprs.compare.run import Budget

# Okabe and Ito's colours, which stay apart for colour-blind readers.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7")


def plot_curves(result: Result, path: Path) -> None:
    """Draw one line per method, the mean over seeds, and their range as a band; save as PNG."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, result, "pipeline_time")
    _draw(right, result, "seconds")
    name = f"test {result.found.metric}"
    left.set(xlabel=f"pipeline time (depth {result.found.depth})", ylabel=name, xlim=(0, None))
    right.set(xlabel="seconds in steps", xlim=(0, None))
    left.legend(frameon=False, fontsize=9)
    seeds = result.ran.seeds
    figure.suptitle(
        f"{result.config.task}, K = {result.config.samples}: mean and range of {seeds} "
        f"seed{'s' * (seeds > 1)}",
        fontsize=11,
    )
    figure.savefig(path, dpi=150)


def _draw(axes: Axes, result: Result, budget: Budget) -> None:
    for method, colour in zip(result.choices, cycle(_COLOURS), strict=False):
        at_each = list(zip(*result.curve(method, budget), strict=True))
        where = [fmean(getattr(p, budget) for p in points) for points in at_each]
        values = [[p.metric[result.found.metric] for p in points] for points in at_each]
        low, high = [min(v) for v in values], [max(v) for v in values]
        axes.fill_between(where, low, high, color=colour, alpha=0.15, lw=0)
        # A budget may end at the first point.
        marker = "o" if len(where) == 1 else None
        label = result.config.label(method)
        axes.plot(where, [fmean(v) for v in values], color=colour, label=label, marker=marker)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
