"""What is drawn: a line for each method, the mean of its seeds, with their range as a band."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pprs.report._runs import AXES, Curve, Number, Run, title

# Settings in which the seeds of a method differ, or that change nothing of what is learned.
SEED = ("seed", "name", "out", "trace", "tensorboard", "resume", "save_every", "save_minutes",
        "keep", "silence", "max_restarts")  # fmt: skip
_MOST, _FEWEST, _ALL = 1000, 60, 100_000  # points of a line, and of all together


@dataclass(frozen=True)
class Method:
    """The seeds of one method with the same settings.

    Args:
        label: unlike that of any other.
        runs: that it comes from, a name each.
        settings: that its runs share, and their own seeds beside them.
        curves: one for each seed.
    """

    label: str
    runs: tuple[str, ...]
    settings: Mapping[str, Any]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Line:
    """A method's values of one name.

    Args:
        steps: at which all its seeds were measured.
        axes: for each of `AXES` that all seeds have, the mean of its values there.
        mean: nothing where a seed is not finite.
        low: the least of the seeds, if there are several.
        high: the largest.
    """

    steps: list[int]
    axes: dict[str, list[float]]
    mean: list[Number]
    low: list[Number] | None
    high: list[Number] | None


def methods_of(runs: Sequence[Run]) -> list[Method]:
    """The methods of all runs. Runs of `pprs train` that differ by their seed only are one."""
    found: dict[Any, list[tuple[Run, Curve]]] = {}
    for run in runs:
        for curve in run.curves:
            key: Any = (run.name, curve.method)
            if run.kind == "train" and run.read.settings:
                key = repr(sorted((k, v) for k, v in run.read.settings.items() if k not in SEED))
                # The same seed again is no other sample.
                while any(c.seed == curve.seed for _, c in found.get(key, ())):
                    key = (key, "again")
            found.setdefault(key, []).append((run, curve))
    return [_method(some, several=len(runs) > 1) for some in found.values()]


def names_of(methods: Sequence[Method]) -> list[str]:
    """What was measured: losses first, then accuracies, then what else changes."""
    found = {
        name: None
        for m in methods
        for c in m.curves
        for name, some in c.values.items()
        if name != "lr" or len({value for _, value in some}) > 1
    }
    rank = {"loss": 0, "accuracy": 1, "norm": 2, "lr": 3}
    return sorted(found, key=lambda name: rank[name.rpartition("_")[2]])


def main_name(methods: Sequence[Method]) -> str | None:
    """The name by which runs are judged: on other data than those trained on, if there are any."""
    names = names_of(methods)
    for kind in ("accuracy", "loss"):
        for name in names:
            if name.startswith(("validation_", "test_")) and name.endswith(kind):
                return name
    return next((n for n in names if n.endswith(("loss", "accuracy"))), None)


def ranked(methods: Sequence[Method], name: str | None) -> list[Method]:
    """The best first, by the mean of the last values; those without come last."""

    def place(method: Method) -> float:
        last = [curve.last(name) for curve in method.curves] if name else [None]
        known = [value for value in last if value is not None]
        if len(known) < len(last):
            return float("inf")
        return -statistics.fmean(known) if better_higher(name) else statistics.fmean(known)

    return sorted(methods, key=place)


def better_higher(name: str | None) -> bool:
    """Whether more of it is better."""
    return name is not None and name.endswith("accuracy")


def line_of(method: Method, name: str) -> Line | None:
    """The values of one name, if all seeds have some."""
    tables = [
        {curve.steps[place]: (place, value) for place, value in curve.values.get(name, [])}
        for curve in method.curves
    ]
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    if not steps:
        return None
    at = [[table[step] for table in tables] for step in steps]
    axes = {
        axis: [
            statistics.fmean(
                c.axes[axis][place] for c, (place, _) in zip(method.curves, seeds, strict=True)
            )
            for seeds in at
        ]
        for axis in AXES
        if all(axis in curve.axes for curve in method.curves)
    }
    values = [[value for _, value in seeds] for seeds in at]
    if len(tables) == 1:
        return Line(steps, axes, [only for (only,) in values], None, None)
    whole = [[v for v in each if v is not None] for each in values]
    whole = [each if len(each) == len(tables) else [] for each in whole]
    return Line(
        steps,
        axes,
        [statistics.fmean(each) if each else None for each in whole],
        [min(each) if each else None for each in whole],
        [max(each) if each else None for each in whole],
    )


def thinned(line: Line, most: int) -> Line:
    """At most so many points: of each stretch the lowest and the highest, and both ends."""
    count = len(line.steps)
    if count <= most:
        return line
    kept = {0, count - 1}
    tracks = [t for t in (line.mean, line.low, line.high) if t is not None]
    stretches = max(1, (most - 2) // (2 * len(tracks)))
    for i in range(stretches):
        places = range(count * i // stretches, count * (i + 1) // stretches)
        known = [p for p in places if line.mean[p] is not None]
        kept |= {p for track in tracks if known for p in _extremes(track, known)}
        # A gap is kept as one, so that no line is drawn over it.
        kept |= {*[p for p in places if line.mean[p] is None][:1]}
    places_kept = sorted(kept)

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[p] for p in places_kept]

    return Line(
        some(line.steps),
        {axis: some(values) for axis, values in line.axes.items()},
        some(line.mean),
        None if line.low is None else some(line.low),
        None if line.high is None else some(line.high),
    )


def points_of_a_line(lines: Sequence[Line]) -> int:
    """How many are kept of each, so that the page stays small."""
    if sum(len(line.steps) for line in lines) <= _ALL:
        return _MOST
    return max(_FEWEST, min(_MOST, _ALL // len(lines)))


def _extremes(values: Sequence[Number], places: Sequence[int]) -> tuple[int, int]:
    def at(place: int) -> float:
        value = values[place]
        return 0.0 if value is None else value

    return min(places, key=at), max(places, key=at)


def _method(found: Sequence[tuple[Run, Curve]], *, several: bool) -> Method:
    run, curve = found[0]
    label = curve.method or run.name
    if curve.method and several:
        label = f"{run.name}: {label}"
    return Method(
        label,
        tuple(dict.fromkeys(r.name for r, _ in found)),
        run.read.settings,
        tuple(c for _, c in found),
    )


__all__ = [
    "SEED", "Line", "Method", "better_higher", "line_of", "main_name", "methods_of", "names_of",
    "points_of_a_line", "ranked", "thinned", "title",
]  # fmt: skip
