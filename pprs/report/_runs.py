"""The runs of a folder as curves: one for each seed of each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pprs.report._folder import METRICS, SUMMARY, Contents, number
from pprs.report._unit_time import evaluations, pipeline_times

Number: TypeAlias = float | None  # nothing where it is not finite
_Key: TypeAlias = tuple[str, int, Number, Number]  # method, seed, step size, sigma
_NOTES = 20
AXES = {
    "pipeline_time": "pipeline time",
    "seconds": "wall time, s",
    "evaluations": "gradient evaluations",
}


@dataclass
class Curve:
    """What was measured while one seed of a method was trained.

    Args:
        method: what tables and legends call it.
        seed: which.
        steps: after which it was measured, in order.
        axes: for each of `AXES` that is known, its value at each of these steps.
        values: by name, pairs of a position in `steps` and what was measured there.
    """

    method: str
    seed: int
    steps: list[int] = field(default_factory=list)
    axes: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, list[tuple[int, Number]]] = field(default_factory=dict)

    def last(self, name: str) -> Number:
        """The last value of this name, if any was measured."""
        found = self.values.get(name)
        return found[-1][1] if found else None


@dataclass
class Run:
    """A run of `pprs train`, or a comparison.

    Args:
        name: unlike that of any other run in the report.
        kind: which of the two.
        read: its files; `notes` there are sentences for the reader.
        curves: of all its methods and seeds.
    """

    name: str
    kind: Literal["train", "compare"]
    read: Contents
    curves: list[Curve]

    @property
    def notes(self) -> list[str]:
        """A sentence for whatever is missing or wrong."""
        return self.read.notes

    @property
    def ended(self) -> bool:
        """Whether it has reached its end; a signal may have ended it before."""
        return bool(self.read.summary) and not self.signal

    @property
    def signal(self) -> str:
        """That has ended it, if one has."""
        ended = self.read.summary.get("ended")
        return ended if isinstance(ended, str) and ended.startswith("SIG") else ""


def run_of(read: Contents, name: str) -> Run:
    """The run whose files these are."""
    compares = (
        any("method" in record for record in read.records[:1])
        or "methods" in read.summary
        or "methods" in read.settings
    )
    curves = _compared(read) if compares else _trained(read)
    for curve in curves:
        _note_gaps(curve, read.notes)
    return Run(name, "compare" if compares else "train", read, curves)


def title(name: str) -> str:
    """What a chart or a column of these values is called."""
    known = {"loss": "batch loss", "train_loss": "training loss", "lr": "step size"}
    return known.get(name, name.replace("_", " "))


def _trained(read: Contents) -> list[Curve]:
    seed = read.settings.get("seed")
    curve = Curve("", seed if isinstance(seed, int) else 0)
    spent = 0.0
    timed = True
    for record in read.records:
        if not _adds(curve, record, read.notes):
            continue
        seconds = number(record.get("seconds"))
        timed = timed and seconds is not None
        spent += seconds or 0.0
        curve.axes.setdefault("seconds", []).append(spent)
        _measure(curve, record, read.notes)
    if not timed:
        read.notes.append(f"there is no wall time: {METRICS} lacks the seconds of a step")
        del curve.axes["seconds"]
    if curve.steps and curve.steps[0] > 1:
        read.notes.append(
            f"{METRICS} begins with step {curve.steps[0]}: the wall time of what is missing is 0"
        )
    for axis, found in (("evaluations", evaluations), ("pipeline_time", pipeline_times)):
        times = found(read.settings, curve.steps)
        if times is not None:
            curve.axes[axis] = times
    return [curve] if curve.steps else []


def _compared(read: Contents) -> list[Curve]:
    runs: dict[_Key, list[dict[str, Any]]] = {}
    for record in read.records:
        if record.get("phase") != "train":
            continue
        key = _key(record)
        if key is not None:
            runs.setdefault(key, []).append(record)
        elif len(read.notes) < _NOTES:
            read.notes.append(
                f"{METRICS}: a line of step {record['step']} does not say of which run, and is "
                f"left out"
            )
    variants: dict[str, set[tuple[Number, Number]]] = {}
    for method, _, lr, sigma in runs:
        variants.setdefault(method, set()).add((lr, sigma))
    curves = []
    for (method, seed, lr, sigma), records in runs.items():
        label = _label(read, method)
        if len(variants[method]) > 1:  # chosen apart for each budget
            label += f" ({_settings(lr, sigma)})"
        curve = Curve(label, seed)
        for record in records:
            if _adds(curve, record, read.notes):
                for axis in AXES:
                    at = number(record.get(axis))
                    if at is not None:
                        curve.axes.setdefault(axis, []).append(at)
                _measure(curve, record, read.notes)
        # A time that is missing anywhere cannot be drawn against.
        curve.axes = {a: v for a, v in curve.axes.items() if len(v) == len(curve.steps)}
        curves.append(curve)
    return curves


def _key(record: Mapping[str, Any]) -> _Key | None:
    """The run of a comparison that a record belongs to, if it says that."""
    method, seed = record.get("method"), record.get("seed")
    if not isinstance(method, str) or type(seed) is not int:
        return None
    found = [record.get(name) for name in ("lr", "sigma")]
    lr, sigma = (number(value) for value in found)
    return (method, seed, lr, sigma) if [lr, sigma] == found else None


def _settings(lr: Number, sigma: Number) -> str:
    said = "searched step" if lr is None else f"step size {lr:g}"
    return f"{said}, sigma {sigma:g}" if sigma else said


def _label(read: Contents, method: str) -> str:
    methods = read.summary.get("methods")
    known = methods.get(method) if isinstance(methods, Mapping) else None
    label = known.get("label") if isinstance(known, Mapping) else None
    return label if isinstance(label, str) else method


def _adds(curve: Curve, record: Mapping[str, Any], notes: list[str]) -> bool:
    """Add a step, unless it is not after the last one."""
    step = record["step"]
    if curve.steps and step <= curve.steps[-1]:
        told = f"{METRICS}: step {step} comes after step {curve.steps[-1]} and is left out"
        if len([note for note in notes if "comes after step" in note]) < 3:
            notes.append(told)
        return False
    curve.steps.append(step)
    return True


def _measure(curve: Curve, record: Mapping[str, Any], notes: list[str]) -> None:
    place = len(curve.steps) - 1
    metric = record.get("metric")
    under = {f"test_{k}": v for k, v in metric.items()} if isinstance(metric, Mapping) else {}
    for name, value in {**record, **under}.items():
        if name != "lr" and not name.endswith(("loss", "accuracy", "norm")):
            continue
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            note = f"{METRICS}: {name} of step {record['step']} is no number, and left out"
            if note not in notes and len(notes) < _NOTES:
                notes.append(note)
            continue
        curve.values.setdefault(name, []).append((place, number(value)))


def _note_gaps(curve: Curve, notes: list[str]) -> None:
    """Say where a value was not finite: the log has null there."""
    for name, found in curve.values.items():
        gaps = [curve.steps[place] for place, value in found if value is None]
        if gaps and not (name == "lr" and len(gaps) == len(found)):  # a step size that is searched
            whose = f" of {curve.method}, seed {curve.seed}," if curve.method else ""
            times = "once" if len(gaps) == 1 else f"{len(gaps)} times"
            notes.append(f"{title(name)}{whose} is not finite {times}, first at step {gaps[0]}")


def distinct(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """The names, and instead of those that are there twice their paths."""
    return [p if names.count(n) > 1 else n for n, p in zip(names, paths, strict=True)]


__all__ = ["AXES", "SUMMARY", "Curve", "Number", "Run", "distinct", "run_of", "title"]
