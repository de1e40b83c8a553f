"""Tables as text, which HTML and Markdown show, and the numbers in them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_LEVEL = 0.95


@dataclass(frozen=True)
class Table:
    """A heading for each column, and rows; the first cell of a row names it.

    Args:
        columns: what is in each.
        rows: as many cells each.
        words: says below what the numbers are.
        title: above, if there are several tables.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: str = ""
    title: str = ""


def figure(value: object) -> str:
    """A number as people read it; a dash for what is not known or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–"
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    if isinstance(value, int) or (abs(value) < 1e15 and value == round(value)):
        whole = int(value)
        return f"{whole:,}" if abs(whole) < 10**15 else f"{whole:.4e}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def seconds(value: float) -> str:
    """A time as people say it."""
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    minutes = value / 60
    return f"{minutes:.3g} min" if minutes < 120 else f"{minutes / 60:.3g} h"


def estimate(values: Sequence[float | None]) -> str:
    """The mean of the seeds with its 95 % interval, by Student's t; of one seed its value."""
    known = [v for v in values if v is not None]
    if len(known) < len(values) or not known:
        return "not finite" if values else "–"
    if len(known) == 1:
        return figure(known[0])
    return f"{figure(statistics.fmean(known))} ± {half_width(known):.2g}"


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval for the mean of independent values, at least two."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, (1 + _LEVEL) / 2))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def setting(value: object) -> str:
    """The value of a setting on a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # a date of TOML
        return f"{value}"
