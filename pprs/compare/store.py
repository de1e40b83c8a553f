"""The folder of a comparison, from which the same command goes on."""

from __future__ import annotations

import hashlib
import inspect
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import tomli_w
import torch

from pprs import __version__
from pprs.compare.amount import Amount
from pprs.compare.config import CompareConfig
from pprs.compare.costs import Cost
from pprs.compare.methods import MethodName
from pprs.compare.run import Point
from pprs.io.files import replacing
from pprs.io.folder import Log, claim, to_json
from pprs.io.settings import USED, as_toml
from pprs.training.losses import LOSSES
from pprs.training.user_functions import named

SUMMARY, METRICS, PLAN = "summary.json", "metrics.jsonl", "plan.json"

# They say where and for how long, not what.
_APART = ("out", "name", "time", "trace")


@dataclass(frozen=True)
class Plan:
    """What was measured, and how much is run by it: before the trials, and once more after them.

    Args:
        costs: of the methods.
        amount: that is run.
        pace: seconds that pass in one of the costs: the machine has other work, too.
        before: seconds until there was a plan.
        tried: steps of the plain optimizer in the trials; 0 until they have ended.
    """

    costs: dict[MethodName, Cost]
    amount: Amount
    pace: float = 1.0
    before: float = 0.0
    tried: int = 0


class Store:
    """What is kept of a comparison.

    Args:
        folder: of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points = _read(folder / METRICS)
        self._log: Log | None = None
        self.spent = 0.0  # seconds of earlier parts

    def plan(self) -> Plan | None:
        """What was planned when it began, if that is so."""
        try:
            kept = json.loads((self.folder / PLAN).read_text())
        except (OSError, ValueError):
            return None
        self.spent = kept.pop("spent")
        costs = {method: Cost(**cost) for method, cost in kept.pop("costs").items()}
        return Plan(costs, Amount(**kept.pop("amount")), **kept)

    def keep(self, plan: Plan, spent: float = 0.0) -> None:
        """Write what is planned, and how long all has taken so far."""
        with replacing(self.folder / PLAN) as partial:
            partial.write_text(to_json({**asdict(plan), "spent": spent}, indent=1) + "\n")

    def add(self, points: Sequence[Point]) -> None:
        """Write what a finished run has measured."""
        if self._log is None:
            # Without what was written in part when it was interrupted.
            lines = "".join(to_json(point.as_record()) + "\n" for point in self.points)
            with replacing(self.folder / METRICS) as partial:
                partial.write_text(lines)
            self._log = Log(self.folder / METRICS)
        self.points += points
        for point in points:
            self._log.write(point.as_record())

    def close(self) -> None:
        """Close what was opened."""
        if self._log is not None:
            self._log.close()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, after which nothing more is run."""
        with replacing(self.folder / SUMMARY) as partial:
            partial.write_text(to_json(summary, indent=2) + "\n")


def opened(config: CompareConfig) -> tuple[Path, bool]:
    """The folder of an unfinished comparison of the same settings, or a new one.

    Returns:
        The folder, and whether it is new.

    Raises:
        ValueError: if nothing can be written there.
    """
    settings = _settings(config)
    name = config.chosen.name
    for i in count(1):
        folder = config.out / (name if i == 1 else f"{name}-{i}")
        try:
            if not folder.is_dir():
                break
        except OSError:  # a name that is too long, of which claim() says so
            break
        if _same(folder / "config.toml", settings) and goes_on(folder, config):
            return folder, False
    folder = claim(config.out, name)
    # The name of a file need not be text.
    (folder / "config.toml").write_text(tomli_w.dumps(settings), errors="surrogateescape")
    return folder, True


def goes_on(folder: Path, config: CompareConfig) -> bool:
    """Whether there is something left to run: no end yet, or seeds that time was not enough for.

    Where it was not enough for all steps, either, more time is for another comparison.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text())
        ran, wanted = summary["ran"], summary["wanted"]
        same = summary["config"].get("time") == as_toml(config).get("time")
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError):
        return False
    return bool(ran["seeds"] < wanted["seeds"] and (same or ran["steps"] == wanted["steps"]))


def _settings(config: CompareConfig) -> dict[str, Any]:
    used = {"sources": _sources(config), "pprs": __version__, "torch": torch.__version__}
    return {**as_toml(config), USED: used}


def _same(file: Path, settings: Mapping[str, Any]) -> bool:
    try:
        kept = tomllib.loads(file.read_text(errors="surrogateescape"))
    except (OSError, ValueError):
        return False
    wanted = tomllib.loads(tomli_w.dumps(settings))
    return _compared(kept) == _compared(wanted)


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _APART}


def _sources(config: CompareConfig) -> dict[str, str]:
    """A sum of each file with a function of the user's: another file is another comparison."""
    names = {"model": config.model or "", "data": config.data or "", "loss": config.loss or ""}
    files = {
        inspect.getsourcefile(inspect.unwrap(named(what, name)))
        for what, name in names.items()
        if name and name not in LOSSES
    }
    return {
        file: hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
        for file in sorted(filter(None, files))
    }


def _read(file: Path) -> list[Point]:
    """The points of all runs that were written to their end."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:  # what is there must not be written over
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    points = []
    for line in lines:
        try:
            points.append(Point.of_record(json.loads(line)))
        except (ValueError, KeyError, TypeError):  # the last one, in part, or damaged
            continue
    ended = {point.run for point in points if point.step == point.of}
    return [point for point in points if point.run in ended]
