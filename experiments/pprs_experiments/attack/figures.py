"""The figures: loss against pipeline time, as the source's Figure 3, and the losses at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pprs_experiments.attack.comparing import Result, median
from pprs_experiments.attack.plan import METHODS
from pprs_experiments.attack.running import PLAIN_STEPS, POINTS, step_time
from pprs_experiments.study.report.drawing import canvas, styles, title

LINES = "gd", "agd", "pprs", "adam-fine", "proximal", "pprs-adam", "auto", "searched-measured"
"""Methods of the first figure: with more it could not be read."""
_DASHES = ("-", "--", ":", "-.")
_WIDTH = 4.2  # inches: that of a phone


def curves(results: Sequence[Result], depth: int) -> Figure:
    """The median loss over the images against time, and the band of their middle half."""
    figure, axes = canvas(_WIDTH, 5.0)
    budget = PLAIN_STEPS * step_time(1, depth)
    times = np.arange(1, POINTS + 1) / POINTS * budget
    for one, style in zip(results, styles(len(results)), strict=True):
        low, middle, high = np.quantile(one.curves, [0.25, 0.5, 0.75], axis=0)
        draws = f", K = {one.setting.samples}" if one.setting.samples > 1 else ""
        label = f"{METHODS[one.method].label}{draws}"
        dashed = style | {"ls": _DASHES[len(axes.lines) % len(_DASHES)]}
        axes.plot(times, middle, markevery=(len(axes.lines) % 4, 4), label=label, **dashed)
        axes.fill_between(times, low, high, color=style["color"], alpha=0.12, lw=0)
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)
    what = "gradients" if depth == 1 else f"pipeline time, Δ = {depth}"
    if depth == 1:
        axes.set_xticks(axes.get_xticks(), [f"{tick / 2:g}" for tick in axes.get_xticks()])
        axes.set_xlim(0, 1.03 * budget)
    axes.set(xlabel=what, ylabel="loss")
    if results:
        figure.legend(loc="outside lower center", frameon=False, fontsize=7.5, handlelength=4)
    title(figure, f"Loss against {what}", how="median and middle half of the images")
    return figure


def finals(results: Sequence[tuple[str, Result]], depth: int) -> Figure:
    """The loss at the end of every method, the median over the images with its interval."""
    figure, axes = canvas(_WIDTH, 1.2 + 0.2 * len(results))
    for row, (_, one) in enumerate(reversed(results)):
        found = median(list(one.final.values()))
        axes.plot([found.low, found.high], [row, row], "k-", lw=1.2)
        marker = "D" if METHODS[one.method].untuned else "o"
        axes.plot(found.value, row, marker, color="k", ms=4)
    axes.set_yticks(range(len(results)), [label for label, _ in reversed(results)], fontsize=7)
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set(xlabel="final loss")
    where = "equal gradients" if depth == 1 else f"equal pipeline time, Δ = {depth}"
    title(figure, f"Final loss, {where}", how="median, 95 % interval; diamond: untuned")
    return figure


def _plain_numbers(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
