"""`pprs-omniglot`: run what is missing, and write the report."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pprs.cli.dispatch import say as end
from pprs.cli.run_command import configured
from pprs.io.files import writing
from pprs_experiments.omniglot.fine_tuning import fine_tuned, nearest, nearest_points, tuned
from pprs_experiments.omniglot.network import EPOCHS, pretrained
from pprs_experiments.omniglot.report import FLOORS, METHODS, write_report
from pprs_experiments.omniglot.results import Row, read
from pprs_experiments.rows import append
from pprs_experiments.study.progress import say
from pprs_experiments.tasks.images.omniglot import (
    SIDE,
    Background,
    OneShot,
    background,
    official_runs,
)

SETS = (1, 2)
SEED = 0
HELD = 2
"""Alphabets that the network for tuning does not see: the last ones with 20 characters."""


@dataclass(frozen=True)
class Effort:
    """How much is computed.

    Args:
        epochs: of pretraining.
        trials: settings that are tried for each method.
        episodes: on which each is tried.
    """

    epochs: int = EPOCHS
    trials: int = 8
    episodes: int = 3


@dataclass(frozen=True)
class OmniglotConfig:
    """Fine-tune a small network on Omniglot's official one-shot runs, by several methods.

    It can be interrupted and called again: what results.jsonl holds is not computed again.

    Args:
        out: folder of the networks, the results and the report.
        data_dir: holds a folder omniglot with the official zip files; without it only the report
            is written, of the results so far.
    """

    out: Path = Path("runs/omniglot")
    data_dir: Path | None = None


def omniglot(config: OmniglotConfig) -> None:
    """Run what has no result yet, one after the other, and write the report.

    Raises:
        ValueError: for data or results that are missing, or files that cannot be written.
    """
    file = config.out / "results.jsonl"
    if config.data_dir is not None:
        with writing(config.out):
            config.out.mkdir(parents=True, exist_ok=True)
        work(config.data_dir, config.out, file)
    rows = read(file)
    if not rows:
        raise ValueError(f"there are no results at {file}: name the data's folder with --data-dir")
    say(f"wrote {write_report(rows, config.out)}")


def work(data_dir: Path, out: Path, file: Path, effort: Effort | None = None) -> None:
    """Run the methods that the file has no results of, on one core."""
    torch.set_num_threads(1)
    effort = effort or Effort()
    held = {(row.background, row.method) for row in read(file)}

    for number in SETS:
        data = background(data_dir, number)
        kept, left = parted(data)
        for method in (*FLOORS, *METHODS):
            if (number, method) in held:
                continue
            began = time.perf_counter()
            settings: dict[str, Any] = {}
            value = None
            if method in METHODS:
                seen = pretrained(out / f"network-{number}-tuning.pt", kept, SEED, effort.epochs)
                settings, value = tuned(seen, left, method, effort.trials, effort.episodes)
            tasks = official_runs(data_dir, 105 if method == "hausdorff" else SIDE)
            model = pretrained(out / f"network-{number}.pt", data, SEED, effort.epochs)
            found = [_outcome(model, task, method, settings, n) for n, task in enumerate(tasks)]
            seconds = round(time.perf_counter() - began, 1)
            append(file, [Row(number, method, settings, value, *_columns(found), seconds)])
            say(f"background {number}, {method}: {seconds:.0f} s")


def parted(data: Background) -> tuple[Background, Background]:
    """The alphabets that the network for tuning sees, and those that settings are tried on."""
    sizes = {name: len(set(data.only([name]).characters.tolist())) for name in data.names}
    held = [name for name in data.names if sizes[name] >= 20][-HELD:]
    return data.only([name for name in data.names if name not in held]), data.only(held)


class Found(NamedTuple):
    """Of one official run: errors among its test images, training loss, and steps."""

    errors: int
    loss: float
    steps: int


def _outcome(
    model: nn.Sequential, task: OneShot, method: str, settings: Mapping[str, Any], number: int
) -> Found:
    if method == "hausdorff":
        return Found(_wrong(task, nearest_points(task)), 0.0, 0)
    if method in FLOORS:
        return Found(_wrong(task, nearest(task, None if method == "pixels" else model)), 0.0, 0)
    last = fine_tuned(model, task, method, settings, number).last
    loss = float(f"{last.training_loss:.4g}")
    return Found(_wrong(task, last.metrics["test"]), loss, last.step)


def _wrong(task: OneShot, accuracy: float) -> int:
    return round(len(task.answers) * (1 - accuracy))


def _columns(found: Sequence[Found]) -> tuple[list[int], list[float], int]:
    losses = [each.loss for each in found] if found[0].steps else []
    return [each.errors for each in found], losses, found[0].steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return configured("pprs-omniglot", OmniglotConfig, omniglot, words)
    except KeyboardInterrupt:
        return end("interrupted; what is finished is kept: call it again to go on", 130)


if __name__ == "__main__":
    raise SystemExit(main())
