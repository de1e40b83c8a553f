"""The numbers that the page's script draws, as small as they can be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pprs.report._lines import (
    Line,
    Method,
    line_of,
    names_of,
    points_of_a_line,
    thinned,
)
from pprs.report._runs import AXES, Number, title


def charts(methods: Sequence[Method]) -> dict[str, Any]:
    """Axes, labels and lines.

    Args:
        methods: in the order of the legend.

    Returns:
        `axes`, each with a key and a title; `methods`, each with a label and the number of seeds;
        `charts`, each with a title and, by method, a line or nothing. A line has `x` by axis,
        `y`, and with several seeds `low` and `high`. Each `x` may be packed, see `packed`;
        `thinned` is whether points were left out.
    """
    names = names_of(methods)
    found = [[line_of(method, name) for method in methods] for name in names]
    known = [line for lines in found for line in lines if line is not None]
    most = points_of_a_line(known)
    there = {axis for line in known for axis in line.axes}
    return {
        "axes": [{"key": key, "title": text} for key, text in AXES.items() if key in there],
        "methods": [{"label": m.label, "seeds": len(m.curves)} for m in methods],
        "charts": [
            {"title": title(name), "lines": [_line(line, most) for line in lines]}
            for name, lines in zip(names, found, strict=True)
        ],
        "thinned": any(len(line.steps) > most for line in known),
    }


def as_script(data: Mapping[str, Any]) -> str:
    """JSON that may stand in a `<script>`: nothing in it ends one, or begins a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(values: Sequence[float]) -> list[float] | dict[str, float]:
    """Values with equal distances as `first`, `by` and `count`, others as they are."""
    by = values[1] - values[0] if len(values) > 3 else 0
    if by and all(b - a == by for a, b in pairwise(values)):
        return {"first": values[0], "by": by, "count": len(values)}
    return list(values)


def _line(line: Line | None, most: int) -> dict[str, Any] | None:
    if line is None:
        return None
    line = thinned(line, most)
    found: dict[str, Any] = {
        "x": {axis: packed([_short(v, 6) for v in values]) for axis, values in line.axes.items()},
        "y": _shorts(line.mean),
    }
    if line.low is not None and line.high is not None:
        found |= {"low": _shorts(line.low), "high": _shorts(line.high)}
    return found


def _shorts(values: Sequence[Number]) -> list[Number]:
    return [None if v is None else _short(v, 5) for v in values]


def _short(value: float, digits: int) -> float:
    """The number with so many digits that count; whole ones without a point."""
    whole = round(value) if abs(value) < 1e15 else None
    if whole is not None and value == whole:
        return whole
    return float(f"{value:.{digits}g}")
