"""The forest plot: what a method gains on its rival, cell by cell and over all cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pprs_experiments.study.report import words
from pprs_experiments.study.report.comparing import Comparison
from pprs_experiments.study.report.drawing import BETTER, NEITHER, WORSE, canvas, title
from pprs_experiments.study.report.words import Measure
from pprs_experiments.study.verdicts import Verdict

_COLOURS = {"better": BETTER, "worse": WORSE, "no difference seen": NEITHER}
_MARKERS = {"better": ">", "worse": "<", "no difference seen": "o"}


def forest(
    pairs: Sequence[tuple[Comparison, Verdict]],
    overall: Mapping[str, Verdict],
    measure: Measure,
    what: str,
) -> Figure:
    """A row for each cell: the gain with its interval, coloured by the verdict.

    Args:
        pairs: of the cells, of one measure.
        overall: over all cells, by what these verdicts are called.
        measure: of the gains.
        what: is compared.
    """
    figure, axes = canvas(9, 1.5 + 0.24 * (len(pairs) + len(overall)))
    common, short = words.shortened(comparison.contest.name for comparison, _ in pairs)
    judged = [*(verdict for _, verdict in pairs), *overall.values()]
    low, high = _limits(measure, judged)
    for row, verdict in enumerate(judged):
        _row(axes, row, verdict, measure, (low, high), whole=row >= len(pairs))
    axes.axvline(0, color="black", lw=0.8)
    axes.axhline(len(pairs) - 0.5, color="black", lw=0.5)
    axes.set_xlim(low, high)
    axes.set_ylim(len(judged) - 0.4, -0.6)
    axes.set_yticks(
        range(len(judged)), [*(short[c.contest.name] for c, _ in pairs), *overall], fontsize=7
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    if measure.timed:
        axes.set_xticks(_ratios(low, high))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: measure.gain(x)))
    axes.set_xlabel(f"{measure.gain_name}   (right of the line: better)", fontsize=8)
    _names(axes, pairs)
    under = "interquartile mean of paired differences, 95 % interval; ▶ better, ◀ worse, ● neither"
    title(figure, what, common, under)
    return figure


def _row(
    axes: Axes,
    row: int,
    verdict: Verdict,
    measure: Measure,
    limits: tuple[float, float],
    *,
    whole: bool,
) -> None:
    low, high = limits
    found, colour = verdict.difference, _COLOURS[verdict.word]
    axes.plot([max(found.low, low), min(found.high, high)], [row, row], color=colour, lw=1.4)
    if math.isnan(found.value):
        axes.text(0, row, "no estimate", fontsize=6.5, ha="center", va="bottom", color=colour)
        return
    at = min(max(found.value, low), high)
    marker = "D" if whole else _MARKERS[verdict.word]
    axes.plot([at], [row], marker, color=colour, ms=5, clip_on=False)
    if at != found.value:
        side = "right" if at == high else "left"
        text = f"{measure.gain(found.value)}  "
        axes.text(at, row - 0.15, text, fontsize=6.5, ha=side, va="bottom", color=colour)


def _limits(measure: Measure, judged: Sequence[Verdict]) -> tuple[float, float]:
    """Wide enough for all that is finite, with room for arrows to what is not."""
    found = [each.difference for each in judged]
    ends = [end for each in found for end in (each.low, each.high, each.value)]
    known = [0.0, *(end for end in ends if math.isfinite(end))]
    low, high = min(known), max(known)
    span = max(high - low, math.log(1.5) if measure.timed else 1e-12)
    if math.inf in ends:
        high = max(high, low + span)
    if -math.inf in ends:
        low = min(low, high - span)
    return low - 0.06 * span, high + 0.06 * span


_TIERS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))


def _ratios(low: float, high: float) -> list[float]:
    """Logarithms of round ratios between two limits: the fewest that are enough."""
    decades = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
    ticks: list[float] = []
    for tier in _TIERS:
        ratios = (math.log(part) + decade * math.log(10) for decade in decades for part in tier)
        ticks = [ratio for ratio in ratios if low <= ratio <= high]
        if len(ticks) >= 4:
            break
    every = 1 + len(ticks) // 9
    return ticks[ticks.index(0.0) % every :: every]  # with that of 1


def _names(axes: Axes, pairs: Sequence[tuple[Comparison, Verdict]]) -> None:
    """Write the compared methods to the right of each row."""
    one = len({comparison.method.method for comparison, _ in pairs}) == 1
    for row, (comparison, _) in enumerate(pairs):
        method = words.label(comparison.method.method)
        against = f"against {words.label(comparison.rival.method)}"
        axes.annotate(
            against if one else f"{method} {against}",
            (1.03, row),
            xycoords=("axes fraction", "data"),
            fontsize=7,
            va="center",
            color="#444444",
            annotation_clip=False,
        )
