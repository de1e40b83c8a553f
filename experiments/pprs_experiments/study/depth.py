"""Depth as the question: from which depth does averaging beat one draw, and no noise?

`experiments/study/protocol.md` says what is run; `pprs-study run --depth` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

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
PAIRS = ((MEAN, ONE), (MEAN, NONE), (MEAN, LONGER), (SEARCHED, NONE))
_NAMES = {
    "relu": "plain ReLU",
    "residual": "residual, GroupNorm",
    "transformer": "transformer",
}


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
        drawn = to_picture(figure(results), "depth", "Differences in accuracy against depth")
        (config.out / "depth.svg").write_text(drawn.svg)
    say(f"wrote {page}")


def chosen(results: Sequence[Result], kind: Kind, depth: int) -> dict[str, Result]:
    """The result of each of the variants that has run with all its σ."""
    held = {(each.cell, each.method): each for each in results}
    found = {}
    for variant, names in {**VARIANTS, LONGER: VARIANTS[NONE]}.items():
        cell = _name(kind, depth, STEPS * (FACTOR if variant == LONGER else 1))
        runs = [held[cell, name] for name in names if (cell, name) in held]
        if len(runs) == len(names):
            found[variant] = max(runs, key=lambda each: each.tuned)
    return found


def tables(results: Sequence[Result]) -> Iterator[str]:
    """Accuracies of all that has run, and differences of those that are compared."""
    held = {(each.cell, each.method): each for each in results}
    names = [*(name for names in VARIANTS.values() for name in names), LONGER]
    labels = [METHODS[name].label if name in METHODS else name for name in names]
    yield f"| network, data | Δ | {' | '.join(labels)} |"
    yield "|---" * (2 + len(names)) + "|"
    for kind, depth in _all():
        cell, longer = _name(kind, depth, STEPS), _name(kind, depth, FACTOR * STEPS)
        keys = [(cell, name) for name in names[:-1]] + [(longer, *VARIANTS[NONE])]
        means = [f"{accuracies(held[key]).mean():.1f}" if key in held else "" for key in keys]
        if any(means):
            yield f"| {_title(kind)} | {depth} | {' | '.join(means)} |"
    yield ""
    yield f"| network, data | Δ | {' | '.join(' less '.join(pair) for pair in PAIRS)} |"
    yield "|---" * (2 + len(PAIRS)) + "|"
    for kind, depth in _all():
        found = [difference(results, kind, depth, *pair) for pair in PAIRS]
        if any(found):
            cells = [shown(each) if each else "" for each in found]
            yield f"| {_title(kind)} | {depth} | {' | '.join(cells)} |"


def difference(
    results: Sequence[Result], kind: Kind, depth: int, ours: str, other: str
) -> Interval | None:
    """Points of test accuracy that one has more than the other, with Student's interval."""
    found = chosen(results, kind, depth)
    if ours not in found or other not in found:
        return None
    return mean(accuracies(found[ours]) - accuracies(found[other]))


def figure(results: Sequence[Result]) -> Figure:
    """The differences against depth, a panel for each kind of network on each data set."""
    run = {kind for kind, depth in _all() if chosen(results, kind, depth)}
    kinds = [kind for kind in KINDS if kind in run]
    drawn = Figure(figsize=(4.2, 1.2 + 1.9 * len(kinds)), layout="constrained")
    panels = drawn.subplots(len(kinds), sharex=True, squeeze=False)[:, 0]
    for axes, kind in zip(panels, kinds, strict=True):
        for number, (pair, style) in enumerate(zip(PAIRS, styles(len(PAIRS)), strict=True)):
            made = [(d, difference(results, kind, d, *pair)) for d in KINDS[kind]]
            shift = 1.03 ** (2 * number - len(PAIRS) + 1)
            points = [(shift * depth, found) for depth, found in made if found]
            lows = [found.value - found.low for _, found in points]
            highs = [found.high - found.value for _, found in points]
            axes.errorbar(
                [depth for depth, _ in points],
                [found.value for _, found in points],
                yerr=[lows, highs],
                capsize=2,
                label=" less ".join(pair),
                **{**style, "ls": ("-", "--", ":", "-.")[number]},
            )
        axes.axhline(0, color="k", lw=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xlim(8.5, 95)
        axes.set_title(_title(kind), fontsize=8, loc="left")
        axes.set_ylabel("points", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    depths = sorted({depth for kind in kinds for depth in KINDS[kind]})
    panels[-1].set_xticks(depths, [str(depth) for depth in depths])
    panels[-1].set_xlabel("layers, and stages Δ")
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", fontsize=7.5)
    title(drawn, "Differences in test accuracy, by depth", how=_title(kinds[0]))
    return drawn


def _all() -> Iterator[tuple[Kind, int]]:
    return ((kind, depth) for kind, depths in KINDS.items() for depth in depths)


def _name(kind: Kind, depth: int, steps: int) -> str:
    data, network = kind
    return f"depth/{data}/{network}/depth {depth}/{steps} steps"


def _title(kind: Kind) -> str:
    data, network = kind
    return f"{_NAMES[network]}, {data.removeprefix('omniglot-').capitalize()}"
