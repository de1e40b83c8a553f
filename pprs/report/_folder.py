"""What lies in a run's folder, as far as it can be read; what cannot be is a sentence."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pprs.io.settings import USED
from pprs.pipeline.trace.timeline import Timeline

CONFIG, METRICS, SUMMARY, TRACE = "config.toml", "metrics.jsonl", "summary.json", "trace.json"
_NAMED = 3  # lines that are wrong, before the others are only counted


@dataclass
class Contents:
    """The files of a run.

    Args:
        folder: where they are.
        settings: those of the run, and what was used where nothing was set.
        records: the lines of the log that hold a step.
        summary: empty for a run that has not ended.
        timeline: of a traced run.
        notes: a sentence for whatever is missing or wrong.
    """

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    timeline: Timeline | None = None
    notes: list[str] = field(default_factory=list)


def contents(folder: Path) -> Contents:
    """Read a run's folder.

    Args:
        folder: that `pprs train` or `pprs compare` has written, or still writes.

    Raises:
        ValueError: if there is no such folder, or it is not that of a run.
    """
    _check(folder)
    found = Contents(folder)
    found.summary = _summary(found)
    settings = _settings(found) or found.summary.get("config")
    found.settings = dict(settings) if isinstance(settings, dict) else {}
    used = found.settings.pop(USED, None) or found.summary.get(USED)
    found.settings |= used if isinstance(used, dict) else {}
    found.records = _records(found)
    if (folder / TRACE).exists():
        try:
            found.timeline = Timeline.load(folder / TRACE)
        except ValueError as error:
            found.notes.append(f"no timeline: {error}")
    return found


def number(value: object) -> float | None:
    """A finite number, or nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer that no float holds
        return None


def _check(folder: Path) -> None:
    names = (CONFIG, METRICS, SUMMARY)
    try:
        if not folder.exists():
            raise ValueError(f"there is no folder {folder}")
        if not folder.is_dir():
            raise ValueError(f"{folder} is a file: name the folder of a run")
        if any((folder / name).is_file() for name in names):
            return
        inner = sorted(p.parent.name for p in folder.glob(f"*/{METRICS}"))
    except OSError as error:
        raise ValueError(f"cannot read {folder}: {error.strerror}") from None
    hint = f"; it holds runs, such as {folder / inner[0]}" if inner else ""
    raise ValueError(f"{folder} is no run's folder, it has none of {', '.join(names)}{hint}")


def _settings(found: Contents) -> dict[str, Any]:
    try:
        return tomllib.loads((found.folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        found.notes.append(f"the settings are not known: cannot read {CONFIG}, {_why(error)}")
    except (ValueError, RecursionError) as error:
        found.notes.append(f"the settings are not known: {CONFIG} is not valid TOML, {error}")
    return {}


def _summary(found: Contents) -> dict[str, Any]:
    file = found.folder / SUMMARY
    if not file.exists():
        return {}  # the run goes on, or was killed: said with its last step
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
        found.notes.append(f"{SUMMARY} is left out: it must hold an object")
    except OSError as error:
        found.notes.append(f"{SUMMARY} is left out: {_why(error)}")
    except (ValueError, RecursionError) as error:
        found.notes.append(f"{SUMMARY} is left out: it is not JSON, {error}")
    return {}


def _records(found: Contents) -> list[dict[str, Any]]:
    try:
        text = (found.folder / METRICS).read_bytes()
    except OSError as error:
        found.notes.append(f"there are no curves: cannot read {METRICS}, {_why(error)}")
        return []
    lines = text.split(b"\n")
    half = lines.pop()  # empty after a whole line
    wrong, kept = [], []
    for count, line in enumerate(lines, 1):
        try:
            kept.append(_record(line))
        except (ValueError, RecursionError) as error:
            wrong.append(f"{METRICS}, line {count}, is left out: {error}")
    if half:
        try:
            kept.append(_record(half))
        except (ValueError, RecursionError):  # normal in a run that goes on
            if found.summary:
                wrong.append(f"{METRICS}, line {len(lines) + 1}, is left out: it breaks off")
    found.notes += wrong[:_NAMED]
    if len(wrong) > _NAMED:
        found.notes.append(f"{METRICS}: {len(wrong) - _NAMED} more lines are left out")
    return kept


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg})") from None
    if not isinstance(record, Mapping):
        raise ValueError("it must hold an object")
    step = record.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 10**15:
        raise ValueError("it has no step")
    return dict(record)


def _why(error: OSError) -> str:
    return (error.strerror or "it cannot be read").lower()
