"""The page of the results: claims, tables, and a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from pprs.io.files import writing
from pprs_experiments.maxima.comparing import RIVALS, Ratio, Time, ratio, times
from pprs_experiments.maxima.plan import DEPTHS, FIRST_ORDER, GAPS, LABELS, UNTUNED
from pprs_experiments.maxima.problems import PROBLEMS
from pprs_experiments.maxima.results import Row
from pprs_experiments.study.report.drawing import COLOURS, canvas, title, to_picture

_MARKERS = "osD^"


def write_report(rows: Sequence[Row], out: Path) -> Path:
    """Write the page and its figure to a folder; returns the page."""
    lines = ["# Objectives with a maximum, measured", "", *_claims(rows), "", *_seconds(rows)]
    for problem in PROBLEMS:
        lines += ["", f"## {problem}", "", *_table(rows, problem)]
    figure = to_picture(ratios(rows), "ratios", "Times over those of the best first-order rival")
    page, picture = out / "report.md", out / "ratios.svg"
    with writing(page):
        picture.write_text(figure.svg)
        page.write_text("\n".join([*lines, "", f"![{figure.alt}]({picture.name})"]) + "\n")
    return page


def compared(
    rows: Sequence[Row], problem: str, method: str, rival: Sequence[str], place: int, depth: int
) -> Ratio:
    """A method's times over those of the best of some rivals."""
    ours, theirs = (times(rows, problem, each, place, depth) for each in ((method,), rival))
    return ratio(ours, theirs)


def _claims(rows: Sequence[Row]) -> Iterator[str]:
    yield "Time over that of the rival, geometric mean [95 % interval]; below 1 is faster."
    yield ""
    yield f"| method | rival | function | gap | {' | '.join(f'Δ = {d}' for d in DEPTHS)} |"
    yield "|---" * (4 + len(DEPTHS)) + "|"
    for method in UNTUNED:
        for rival, made_of in RIVALS if method == "auto" else RIVALS[:1]:
            for problem in PROBLEMS:
                for place, gap in enumerate(GAPS):
                    cells = [
                        shown(compared(rows, problem, method, made_of, place, depth))
                        for depth in DEPTHS
                    ]
                    if any(cells):
                        names = LABELS[method], rival, f"`{problem}`", f"{gap:g}"
                        yield f"| {' | '.join([*names, *cells])} |"


def shown(found: Ratio) -> str:
    """In a cell; empty where nothing is compared."""
    if found.answer == "not compared":
        return ""
    mean = found.mean
    numbers = f"{found.sign}{mean.value:.2g} [{mean.low:.2g}, {mean.high:.2g}]"
    return f"**{numbers}**" if found.answer == "yes" else numbers


def _table(rows: Sequence[Row], problem: str) -> Iterator[str]:
    yield "Pipeline time, median over the seeds; (n): only n seeds arrived."
    yield ""
    heads = [f"gap {gap:g}, Δ = {depth}" for gap in GAPS for depth in DEPTHS]
    yield f"| method | {' | '.join(heads)} |"
    yield "|---" * (1 + len(heads)) + "|"
    for method, label in LABELS.items():
        cells = [
            _median(times(rows, problem, (method,), place, depth))
            for place in range(len(GAPS))
            for depth in DEPTHS
        ]
        yield f"| {label} | {' | '.join(cells)} |"


def _median(found: dict[int, Time]) -> str:
    arrived = [time.value for time in found.values() if time.arrived]
    if not arrived:
        return "never" if found else ""
    short = f" ({len(arrived)})" if len(arrived) < len(found) else ""
    return f"{median(arrived):,.0f}{short}"


def _seconds(rows: Sequence[Row]) -> Iterator[str]:
    yield "Seconds on one core, median over the seeds, of the solver, and of the first-order"
    yield "solver of images until a gap of 0.01; and of `pprs.minimize` at Δ = 1, all its steps."
    yield ""
    yield "| function | solver | projected gradient of the dual | `pprs.minimize`, told nothing |"
    yield "|---|---|---|---|"
    for problem in PROBLEMS:
        here = [row for row in rows if row.problem == problem]
        solver = [row.setting[0] for row in here if row.method == "solver"]
        dual = [row.seconds for row in here if row.method == "dual"]
        ours = [row.seconds for row in here if row.method == "auto" and row.depth == 1]
        cells = [f"{median(each):.2g}" if each else "" for each in (solver, dual, ours)]
        yield f"| `{problem}` | {' | '.join(cells)} |"


def ratios(rows: Sequence[Row]) -> Figure:
    """Times at the largest depth, over those of the best first-order rival, to the least gap."""
    methods = [name for name in LABELS if name not in FIRST_ORDER]
    figure, axes = canvas(4.2, 1.6 + 0.32 * len(methods))
    for number, problem in enumerate(PROBLEMS):
        for row, method in enumerate(reversed(methods)):
            found = compared(rows, problem, method, FIRST_ORDER, len(GAPS) - 1, DEPTHS[-1])
            if found.answer == "not compared":
                continue
            height = row + 0.18 * (number - 1.5)
            style: dict[str, Any] = {
                "color": COLOURS[number],
                "marker": _MARKERS[number],
                "ms": 4.5,
            }
            filled = "none" if found.sign else COLOURS[number]
            axes.plot([found.mean.low, found.mean.high], [height, height], color=COLOURS[number])
            axes.plot(found.mean.value, height, ls="", mfc=filled, **style)
    for number, problem in enumerate(PROBLEMS):
        axes.plot([], [], ls="", color=COLOURS[number], marker=_MARKERS[number], label=problem)
    axes.set_xscale("log")
    axes.axvline(1, color="k", lw=0.8)
    axes.set_yticks(range(len(methods)), [LABELS[m].replace("`", "") for m in reversed(methods)])
    axes.set(xlabel="time over that of the best of subgradient, AGD, Adam")
    figure.legend(loc="outside lower center", ncols=len(PROBLEMS), frameon=False, fontsize=8)
    how = f"gap {GAPS[-1]:g}; hollow: at least so much, never arrived"
    title(figure, f"Time in a pipeline of Δ = {DEPTHS[-1]}", how=how)
    return figure
