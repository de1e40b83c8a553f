"""Depth as the question: from which depth does averaging beat one draw, and no noise?

`experiments/study/protocol.md` says what is run; `pprs-study run --depth` runs it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure

from pprs.io.files import writing
from pprs_experiments.study.cell import Cell, Goal
from pprs_experiments.study.confirmation import accuracies, shown
from pprs_experiments.study.intervals import Interval, mean
from pprs_experiments.study.job import Effort
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.progress import say
from pprs_experiments.study.report.drawing import styles, title, to_picture
from pprs_experiments.study.results import Result, read_results
from pprs_experiments.study.tasks import FewShotTask
from pprs_experiments.study.tasks.few_shot import NetworkName
from pprs_experiments.tasks.images import ImageName

Kind: TypeAlias = tuple[ImageName, NetworkName]
Task: TypeAlias = tuple[Kind, int]
"""A kind of network on a data set, and how many layers it has."""

KINDS: dict[Kind, tuple[int, ...]] = {
    ("digits", "relu"): (10, 20, 40, 80),
    ("digits", "residual"): (10, 20, 40),
    ("omniglot-latin", "relu"): (10, 20, 40, 80),
    ("digits", "transformer"): (10, 20),
}
"""Depths of every kind of network on every data set, in the order that they are run in."""
NONE, ONE, MEAN, SEARCHED = "no noise", "one draw", "averaging", "searched step"
VARIANTS = {
    NONE: ("grid-none",),
    ONE: ("grid-one-0.003", "grid-one-0.01"),
    MEAN: ("grid-mean-0.003", "grid-mean-0.01"),
    SEARCHED: ("searched-adam",),
}
"""What is compared; where there are two σ, the one that is best by validation counts."""
LONGER = f"{NONE}, 4 times the steps"
STEPS, FACTOR = 100, 4
EFFORT = Effort(trials=3, tuning_seeds=1, seeds=5)
PAIRS = ((MEAN, ONE), (MEAN, NONE), (MEAN, LONGER), (ONE, NONE), (SEARCHED, NONE))
SIGMAS = ("0.003", "0.01")
_NAMES = {
    "relu": "plain ReLU",
    "residual": "residual, GroupNorm",
    "transformer": "transformer",
}
OTHERS = "residual and transformer"


@dataclass(frozen=True)
class DepthConfig:
    """Tables and a figure of accuracy against depth.

    Args:
        results: the file that `pprs-study run --depth` writes.
        out: folder to write to.
    """

    results: Path = Path("runs/study/depth.jsonl")
    out: Path = Path("runs/study/depth")


def planned() -> list[Cell]:
    """Few-shot networks by depth, at equal pipeline time; and longer runs without noise."""
    short = tuple(name for names in VARIANTS.values() for name in names)
    return [
        Cell(
            _name(kind, depth, steps),
            FewShotTask(
                data=kind[0],
                network=kind[1],
                depth=depth,
                width=32,
                validation=20 if kind[0] == "digits" else 5,
            ),
            "time",
            steps,
            methods,
            Goal("validation", "higher"),
            Goal("test", "higher"),
            (3,),
        )
        for kind, depths in KINDS.items()
        for depth in depths
        for steps, methods in ((STEPS, short), (FACTOR * STEPS, VARIANTS[NONE]))
    ]


def report(config: DepthConfig) -> None:
    """Write the tables and the figure.

    Raises:
        ValueError: if the results are not there or cannot be read.
    """
    if not config.results.exists():
        raise ValueError(
            f"there are no results at {config.results}: call `pprs-study run --depth` first"
        )
    results = read_results(config.results)
    page = config.out / "depth.md"
    with writing(page):
        config.out.mkdir(parents=True, exist_ok=True)
        page.write_text("\n".join(tables(results)) + "\n")
        drawn = to_picture(figure(results), "depth", "Averaging against its rivals by depth")
        (config.out / "depth.svg").write_text(drawn.svg)
    say(f"wrote {page}")


def chosen(results: Sequence[Result], task: Task, sigma: str = "") -> dict[str, Result]:
    """The result of each of the variants that has run with all its σ, or with the one given."""
    held = {(each.cell, each.method): each for each in results}
    found = {}
    for variant, names in {**VARIANTS, LONGER: VARIANTS[NONE]}.items():
        cell = _name(*task, STEPS * (FACTOR if variant == LONGER else 1))
        wanted = [name for name in names if len(names) == 1 or name.endswith(sigma)]
        runs = [held[cell, name] for name in wanted if (cell, name) in held]
        if len(runs) == len(wanted):
            found[variant] = max(runs, key=lambda each: each.tuned)
    return found


def difference(
    results: Sequence[Result], tasks: Sequence[Task], ours: str, other: str, sigma: str = ""
) -> Interval | None:
    """Points of test accuracy that one has more than the other, with Student's interval.

    Of several tasks the mean is taken for each seed's number.
    """
    pairs = [chosen(results, task, sigma) for task in tasks]
    gains = [
        accuracies(found[ours]) - accuracies(found[other])
        for found in pairs
        if ours in found and other in found
    ]
    return mean(np.mean(gains, axis=0)) if gains else None


def tables(results: Sequence[Result]) -> Iterator[str]:
    """Accuracies of all that has run, differences of those that are compared, and those by σ."""
    yield from _accuracies(results)
    yield ""
    yield f"| network, data | Δ | {' | '.join(' less '.join(pair) for pair in PAIRS)} |"
    yield "|---" * (2 + len(PAIRS)) + "|"
    for kind, depth in _tasks():
        if chosen(results, (kind, depth)):
            yield f"| {_title(kind)} | {depth} | {_shown(results, [(kind, depth)], PAIRS)} |"
    groups = list(_groups(results))
    for name, tasks in groups:
        yield f"| **{name}** | {_layers(tasks)} | {_shown(results, tasks, PAIRS)} |"
    if groups:
        yield from _by_sigma(results, groups)


def _by_sigma(
    results: Sequence[Result], groups: Sequence[tuple[str, Sequence[Task]]]
) -> Iterator[str]:
    pairs = ((ONE, NONE), (MEAN, NONE), (MEAN, ONE))
    yield ""
    yield f"| network | Δ | σ | {' | '.join(' less '.join(pair) for pair in pairs)} |"
    yield "|---" * (3 + len(pairs)) + "|"
    for name, tasks in groups:
        for sigma in SIGMAS:
            cells = _shown(results, tasks, pairs, sigma)
            yield f"| {name} | {_layers(tasks)} | {sigma} | {cells} |"


def _accuracies(results: Sequence[Result]) -> Iterator[str]:
    held = {(each.cell, each.method): each for each in results}
    names = [name for names in VARIANTS.values() for name in names]
    labels = [*(METHODS[name].label for name in names), LONGER]
    yield f"| network, data | Δ | {' | '.join(labels)} | steps with 8 draws |"
    yield "|---" * (3 + len(labels)) + "|"
    ratios: list[list[float]] = [[] for _ in labels]
    for kind, depth in _tasks():
        cell, longer = _name(kind, depth, STEPS), _name(kind, depth, FACTOR * STEPS)
        keys = [*((cell, name) for name in names), (longer, VARIANTS[NONE][0])]
        runs = [held.get(key) for key in keys]
        if any(runs):
            means = [f"{accuracies(each).mean():.1f}" if each else "" for each in runs]
            steps = [each.runs[0].steps for each in runs if each and each.method in VARIANTS[MEAN]]
            yield f"| {_title(kind)} | {depth} | {' | '.join(means)} | {max(steps, default='')} |"
        for found, each in zip(ratios, runs, strict=True):
            if each and runs[0]:
                found.append(_seconds(each) / _seconds(runs[0]))
    times = [f"{statistics.median(found):.1f}" if found else "" for found in ratios]
    yield f"| seconds, in those without noise, median | | {' | '.join(times)} | |"


def _seconds(result: Result) -> float:
    return sum(run.wall_time for run in result.runs)


def _shown(
    results: Sequence[Result],
    tasks: Sequence[Task],
    pairs: Sequence[tuple[str, str]],
    sigma: str = "",
) -> str:
    found = [difference(results, tasks, *pair, sigma) for pair in pairs]
    return " | ".join(shown(each) if each else "" for each in found)


def figure(results: Sequence[Result]) -> Figure:
    """What averaging has more than each of its rivals, by depth, a line for each network."""
    rivals = PAIRS[:3]
    kinds = list(dict.fromkeys(kind for kind, depth in _tasks() if chosen(results, (kind, depth))))
    drawn = Figure(figsize=(4.2, 2 + 1.9 * len(rivals)), layout="constrained")
    panels = drawn.subplots(len(rivals), sharex=True, sharey=True)
    for axes, (ours, other) in zip(panels, rivals, strict=True):
        for number, (kind, style) in enumerate(zip(kinds, styles(len(kinds)), strict=True)):
            made = [(d, difference(results, [(kind, d)], ours, other)) for d in KINDS[kind]]
            shift = 1.04 ** (2 * number - len(kinds) + 1)
            points = [(shift * depth, found) for depth, found in made if found]
            lows = [found.value - found.low for _, found in points]
            highs = [found.high - found.value for _, found in points]
            axes.errorbar(
                [depth for depth, _ in points],
                [found.value for _, found in points],
                yerr=[lows, highs],
                capsize=2,
                label=_title(kind),
                **{**style, "ls": ("-", "--", ":", "-.")[number]},
            )
        axes.axhline(0, color="k", lw=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xlim(8.5, 95)
        axes.set_ylabel("points", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    depths = sorted({depth for kind in kinds for depth in KINDS[kind]})
    panels[-1].set_xticks(depths, [str(depth) for depth in depths])
    panels[-1].set_xlabel("layers, and stages Δ", fontsize=8)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", fontsize=7.5)
    title(drawn, "Accuracy of 8 averaged draws less that of others")
    for axes, (_, other) in zip(panels, rivals, strict=True):
        equal = "about equal seconds" if other == LONGER else "equal pipeline time"
        axes.set_title(f"less {other} ({equal})", fontsize=8, loc="left")
    return drawn


def _tasks() -> Iterator[Task]:
    return ((kind, depth) for kind, depths in KINDS.items() for depth in depths)


def _groups(results: Sequence[Result]) -> Iterator[tuple[str, list[Task]]]:
    """Tasks that are looked at together, where more than one of them has run."""
    run = [task for task in _tasks() if chosen(results, task)]
    plain = [task for task in run if task[0][1] == "relu"]
    deep = [task for task in plain if task[1] >= 40]
    others = [task for task in run if task not in plain]
    for name, tasks in ((_NAMES["relu"], plain), (_NAMES["relu"], deep), (OTHERS, others)):
        if len(tasks) > 1:
            yield f"{name}, {len(tasks)} together", tasks


def _layers(tasks: Sequence[Task]) -> str:
    return f"{min(depth for _, depth in tasks)} to {max(depth for _, depth in tasks)}"


def _name(kind: Kind, depth: int, steps: int) -> str:
    data, network = kind
    return f"depth/{data}/{network}/depth {depth}/{steps} steps"


def _title(kind: Kind) -> str:
    data, network = kind
    return f"{_NAMES[network]}, {data.removeprefix('omniglot-').capitalize()}"
