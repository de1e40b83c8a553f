"""The page of the results: a table for each background set, and a figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pprs.io.files import writing
from pprs_experiments.omniglot.results import Row
from pprs_experiments.study.intervals import Interval, mean
from pprs_experiments.study.report.drawing import COLOURS, canvas, title, to_picture

FLOORS: Mapping[str, str] = {
    "hausdorff": "nearest neighbour, modified Hausdorff distance",
    "pixels": "nearest neighbour, pixels",
    "features": "nearest neighbour, features (prototypes)",
}
METHODS: Mapping[str, str] = {
    "adam": "Adam",
    "sgd": "SGD, GPipe",
    "sam": "SAM",
    "one-draw-adam": "one draw before Adam",
    "pprs-adam": "smoothing before Adam",
    "searched-adam": "searched step before Adam, nothing tuned",
}
CLAIMS = (
    ("searched-adam", "adam"),
    ("pprs-adam", "adam"),
    ("pprs-adam", "one-draw-adam"),
    ("adam", "features"),
)
"""Methods, and those that each makes fewer errors than."""
_IMAGES = 20  # of a run


def write_report(rows: Sequence[Row], out: Path) -> Path:
    """Write the page and its figure to a folder; returns the page."""
    lines = ["# Omniglot's one-shot task, measured"]
    for number in sorted({row.background for row in rows}):
        lines += [
            "",
            f"## Minimal background set {number}",
            "",
            *_table(rows, number),
            "",
            *_claims(rows, number),
        ]
    figure = to_picture(errors(rows), "errors", "Error rates on Omniglot's one-shot task")
    page, picture = out / "report.md", out / "errors.svg"
    with writing(page):
        picture.write_text(figure.svg)
        page.write_text("\n".join([*lines, "", f"![{figure.alt}]({picture.name})"]) + "\n")
    return page


def rate(row: Row) -> Interval:
    """The error rate in percent, with Student's interval of 95 % over the runs."""
    return mean(100 / _IMAGES * np.array(row.errors))


def difference(row: Row, other: Row) -> Interval:
    """Points of error rate that a method has more than another, run by run."""
    return mean(100 / _IMAGES * (np.array(row.errors) - np.array(other.errors)))


def _table(rows: Sequence[Row], number: int) -> Iterator[str]:
    held = {row.method: row for row in rows if row.background == number}
    heads = "method", "errors of 400", "error rate, %", "less that of Adam, points", "steps"
    yield f"| {' | '.join(heads)} | settings |"
    yield "|---" * (1 + len(heads)) + "|"
    for method, label in {**FLOORS, **METHODS}.items():
        if method in held:
            row = held[method]
            beside = "adam" in held and method != "adam"
            against = _shown(difference(row, held["adam"]), "+") if beside else ""
            settings = ", ".join(f"{name} {value:.3g}" for name, value in row.settings.items())
            cells = sum(row.errors), _shown(rate(row)), against, row.steps or "", settings
            yield f"| {label} | {' | '.join(map(str, cells))} |"


def _claims(rows: Sequence[Row], number: int) -> Iterator[str]:
    held = {row.method: row for row in rows if row.background == number}
    names = {**FLOORS, **METHODS}
    yield "| claim: fewer errors | points of error rate | holds |"
    yield "|---|---|---|"
    for ours, other in CLAIMS:
        if ours in held and other in held:
            found = difference(held[ours], held[other])
            holds = "yes" if found.high < 0 else "no, more" if found.low > 0 else "cannot say"
            yield f"| {names[ours]}, than {names[other]} | {_shown(found, '+')} | {holds} |"


def _shown(found: Interval, sign: str = "") -> str:
    return f"{found.value:{sign}.1f} [{found.low:{sign}.1f}, {found.high:{sign}.1f}]"


def errors(rows: Sequence[Row]) -> Figure:
    """The error rates of all methods, with both background sets."""
    names = {**FLOORS, **METHODS}
    figure, axes = canvas(4.2, 1.4 + 0.3 * len(names))
    places = {method: place for place, method in enumerate(reversed(names))}
    for row in rows:
        found, height = rate(row), places[row.method] + (0.12 if row.background == 1 else -0.12)
        colour, marker = COLOURS[row.background - 1], "os"[row.background - 1]
        axes.plot([found.low, found.high], [height, height], color=colour, lw=1.2)
        label = f"background set {row.background}" if row.method == "pixels" else None
        axes.plot(found.value, height, color=colour, marker=marker, ms=4.5, ls="", label=label)
    axes.set_yticks(range(len(names)), list(reversed(names.values())), fontsize=7)
    axes.set(xlabel="error rate, %", xlim=(0, None))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    title(figure, "Omniglot, 20-way one-shot", how="20 runs; mean, 95 % interval")
    return figure
