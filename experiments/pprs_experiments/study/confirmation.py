"""The held-out confirmation: tasks that nobody tuned on, and claims written down before.

`experiments/study/protocol.md` has the claims; `pprs-study run --confirm` runs what they need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pprs_experiments.study.cell import Cell, Goal
from pprs_experiments.study.intervals import Interval, mean
from pprs_experiments.study.job import Effort
from pprs_experiments.study.methods import registry
from pprs_experiments.study.progress import say
from pprs_experiments.study.results import Result, read_results
from pprs_experiments.study.statistics import Array
from pprs_experiments.study.tasks import FewShotTask
from pprs_experiments.tasks.images import ImageName

TASKS: Mapping[ImageName, tuple[int, int]] = {
    "omniglot-latin": (5, 5),
    "omniglot-sanskrit": (5, 5),
    "cifar-10": (5, 20),
    "mushrooms": (20, 20),
    "a9a": (20, 20),
}
"""Data sets, with the images of each class for training and for validation."""
RIVALS = tuple(f"adam-at-{lr:g}" for lr in registry.HINDSIGHT)
CLAIMS: Mapping[str, float] = {"searched-adam": 2.0, "pprs-adam": 4.0}
"""Methods, and the points of accuracy over all tasks that each is to have more than Adam."""
METHODS = (*CLAIMS, *RIVALS, "adam", "one-draw-adam")
EFFORT = Effort(trials=12, tuning_seeds=2, seeds=10)


@dataclass(frozen=True)
class ConfirmationConfig:
    """Print what came out of the held-out confirmation.

    Args:
        results: the file that `pprs-study run --confirm` writes.
    """

    results: Path = Path("runs/study/confirmation.jsonl")


def cells(steps: int = 100) -> list[Cell]:
    """Few-shot nets of 20 layers, at equal pipeline time."""
    goals = Goal("validation", "higher"), Goal("test", "higher")
    return [
        Cell(
            f"confirmation/{data}/{shots} shots/depth 20",
            FewShotTask(data=data, shots=shots, depth=20, validation=validation),
            "time",
            steps,
            METHODS,
            *goals,
            (3,),
        )
        for data, (shots, validation) in TASKS.items()
    ]


def report(config: ConfirmationConfig) -> None:
    """Print the table.

    Raises:
        ValueError: if the results are not there or cannot be read.
    """
    if not config.results.exists():
        raise ValueError(
            f"there are no results at {config.results}: call `pprs-study run --confirm` first"
        )
    say("\n".join(table(read_results(config.results))))


def table(results: Sequence[Result]) -> Iterator[str]:
    """Test accuracies less those of Adam at its best step size in hindsight, by task."""
    held = {(result.cell, result.method): accuracies(result) for result in results}
    yield "| method | task | accuracy, % | Adam, best in hindsight | difference, points |"
    yield "|---|---|---|---|---|"
    for method in (*CLAIMS, "adam", "one-draw-adam"):
        label, differences = registry.METHODS[method].label, []
        for cell in cells():
            rivals = [held[cell.name, name] for name in RIVALS if (cell.name, name) in held]
            if (cell.name, method) in held and len(rivals) == len(RIVALS):
                ours, best = held[cell.name, method], max(rivals, key=lambda each: each.mean())
                differences.append(ours - best)
                means = f"{ours.mean():.1f} | {best.mean():.1f}"
                task = ", ".join(cell.name.split("/")[1:3])
                yield f"| {label} | {task} | {means} | {shown(mean(differences[-1]))} |"
        if differences:
            together = mean(np.mean(differences, axis=0))
            yield f"| {label} | **{len(differences)} tasks together** | | | {shown(together)} |"


def accuracies(result: Result) -> Array:
    """Of every seed, in percent; 0 where it diverged."""
    return np.array([max(0.0, 100 * run.value) for run in result.runs])


def shown(found: Interval) -> str:
    """Points of accuracy, with their interval."""
    return f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
