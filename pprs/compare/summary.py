"""The summary of a run: one row per method, as data and as a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from pprs.compare.config import CompareConfig, MethodName
from pprs.compare.methods import METHODS
from pprs.compare.run import Point
from pprs.compare.search import ChosenStepSize, grid
from pprs.io.settings import as_toml

Curves = Mapping[MethodName, Sequence[Sequence[Point]]]  # method -> seed -> points


@dataclass(frozen=True)
class MethodSummary:
    """A method's result: means over seeds; the spread is the standard deviation over seeds."""

    method: MethodName
    label: str
    lr: float
    steps: int
    pipeline_time: int
    wall_time: float
    train_loss: float
    test_accuracy: float
    test_accuracy_spread: float
    test_accuracies: list[float]


def summaries(choices: Mapping[MethodName, ChosenStepSize], curves: Curves) -> list[MethodSummary]:
    """A row per method, from the last point of each seed."""
    return [_summary(method, choices[method], of_seeds) for method, of_seeds in curves.items()]


def _summary(
    method: MethodName, choice: ChosenStepSize, of_seeds: Sequence[Sequence[Point]]
) -> MethodSummary:
    last = [points[-1] for points in of_seeds]
    accuracies = [point.accuracy for point in last]
    return MethodSummary(
        method=method,
        label=METHODS[method].label,
        lr=choice.lr,
        steps=last[0].step,
        pipeline_time=last[0].pipeline_time,
        wall_time=statistics.fmean(point.wall_time for point in last),
        train_loss=statistics.fmean(point.train_loss for point in last),
        test_accuracy=statistics.fmean(accuracies),
        test_accuracy_spread=statistics.stdev(accuracies) if len(accuracies) > 1 else math.nan,
        test_accuracies=accuracies,
    )


def as_data(
    config: CompareConfig,
    choices: Mapping[MethodName, ChosenStepSize],
    result: Sequence[MethodSummary],
    wall: float,
) -> dict[str, Any]:
    """What `summary.json` holds."""
    return {
        "config": as_toml(config),
        "perturbation": f"{config.perturbation}",
        "search": {
            method: {"chosen": choice.lr, "held_out_accuracy": choice.accuracy}
            for method, choice in choices.items()
        },
        "methods": {
            row.method: {k: v for k, v in vars(row).items() if k != "method"} for row in result
        },
        "wall_time": wall,
    }


def search_table(config: CompareConfig, choices: Mapping[MethodName, ChosenStepSize]) -> Table:
    """The accuracy of each step size on the held-out images, the chosen one in brackets."""
    table = Table(box=box.SIMPLE, padding=(0, 0))
    table.add_column("method")
    widest = max(len(grid(config, method)) for method in choices)
    for i in range(widest):
        table.add_column("step size" if i == 0 else "", justify="right", no_wrap=True)
    for method, choice in choices.items():
        cells = []
        for lr in grid(config, method):
            text = f"{lr:g}: {choice.accuracy[lr]:.3f}"
            cells.append(f"[bold]\\[{text}][/bold]" if lr == choice.lr else text)
        table.add_row(METHODS[method].label, *cells)
    return table


def heading(config: CompareConfig) -> str:
    """What the table shows."""
    seeds = f"{config.seeds} seed" + "s" * (config.seeds > 1)
    return (
        f"digits, {config.shots} images per class, {config.loss} loss, {config.depth} layers, "
        f"mean of {seeds} ± deviation:"
    )


def result_table(result: Sequence[MethodSummary]) -> Table:
    """The table that a run ends with."""
    table = Table(box=box.SIMPLE, padding=(0, 0))
    for name in (
        "method",
        "step size",
        "steps",
        "pipeline time",
        "wall time",
        "train loss",
        "test accuracy",
    ):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in result:
        spread = (
            "" if math.isnan(row.test_accuracy_spread) else f" ± {row.test_accuracy_spread:.3f}"
        )
        table.add_row(
            row.label,
            f"{row.lr:g}",
            f"{row.steps:,}",
            f"{row.pipeline_time:,}",
            f"{row.wall_time:.1f} s",
            f"{row.train_loss:.4f}" if math.isfinite(row.train_loss) else "diverged",
            f"{row.test_accuracy:.3f}{spread}",
        )
    return table
