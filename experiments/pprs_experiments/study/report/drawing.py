"""The style of the report's figures, and how they become SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind readers.
BETTER, WORSE, NEITHER = "#0072B2", "#D55E00", "#767676"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
_MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Args:
        name: of its file, without the suffix.
        alt: what it shows, in words.
        svg: the file.
        long: whether it is for looking things up, and best folded.
    """

    name: str
    alt: str
    svg: str
    long: bool = False


# The fallbacks are no wider than the font that the layout is made for.
_FONTS = ["DejaVu Sans", "Verdana", "sans-serif"]


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    return figure, axes


def title(figure: Figure, what: str, where: str = "", how: str = "") -> None:
    """What is shown, over the whole width, and below it in small letters how."""
    lines = [
        line for text in (what, where) for line in wrap(text, round(10.5 * figure.get_figwidth()))
    ]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10, fontweight="bold")
    figure.axes[0].set_title(how, fontsize=8, loc="left", color="#444444")


def styles(number: int) -> list[dict[str, Any]]:
    """Styles of lines that differ without their colours, too."""
    count = len(COLOURS)
    return [
        {
            "color": COLOURS[i % count],
            "ls": _DASHES[i // count % len(_DASHES)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "ms": 4,
            "lw": 1.3,
        }
        for i in range(number)
    ]


def legend_outside(axes: Axes) -> None:
    """Put the legend to the right of the axes."""
    axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=7.5, handlelength=3
    )


def spreads(values: Sequence[float], factor: float = 30.0) -> bool:
    """Whether they are better drawn on a logarithmic axis."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > factor


def to_picture(figure: Figure, name: str, alt: str, *, long: bool = False) -> Picture:
    """The figure as SVG, always the same; texts stay texts, since outlines are much longer."""
    held = io.BytesIO()
    with mpl.rc_context(
        {"svg.hashsalt": "pprs", "svg.fonttype": "none", "font.sans-serif": _FONTS}
    ):
        figure.savefig(held, format="svg", metadata={"Date": None})
    return Picture(name, alt, held.getvalue().decode(), long)
