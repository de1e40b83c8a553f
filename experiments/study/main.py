"""Figures of docs/study.md that no report has: `python experiments/study/main.py`."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np

from pprs_experiments.study.accelerated import accelerated_times
from pprs_experiments.study.cell import Spent
from pprs_experiments.study.report import sentences, words
from pprs_experiments.study.report.comparing import (
    Chooser,
    Contest,
    Family,
    against_rivals,
    compare,
    contests,
    named,
    one_draw,
)
from pprs_experiments.study.results import Result, read_results
from pprs_experiments.study.statistics import Unit, iqm
from pprs_experiments.study.verdicts import verdict

STUDIES = 2000
SEEDS = 10
PAIRS: tuple[tuple[int, Spent, str, str], ...] = (
    (2, "time", "randomized-smoothing", "agd"),
    (3, "time", "pprs-adam", "adam"),
    (3, "evaluations", "pprs-adam", "adam"),
    (3, "time", "default-adam-0.01", "adam"),
    (3, "time", "adam", "sgd"),
    (4, "time", "default-adam-0.01", "adam"),
    (4, "time", "agd", "adam"),
    (5, "time", "default-adam-0.01", "default-adam-0.02"),
    (6, "time", "no-momentum-filter", "pprs-filter"),
)


def found_by_luck(luck: float, cells: int) -> dict[str, float]:
    """The part of studies without a difference that tell one, by what is taken as a unit.

    Args:
        luck: in tuning, of each cell, in standard deviations of a seed.
        cells: of a study.
    """
    random = np.random.default_rng(0)
    told: dict[Unit, int] = {"seed": 0, "cell": 0}
    for _ in range(STUDIES):
        gains = luck * random.normal(size=(cells, 1)) + random.normal(size=(cells, SEEDS))
        for unit in told:
            word = verdict(gains, better="higher", unit=unit, draws=200).word
            told[unit] += word != "no difference seen"
    return {unit: count / STUDIES for unit, count in told.items()}


def slower(among: list[Contest], method: str, rival: str) -> float:
    """The ratio of a method's wall time to its rival's, median over cells."""
    return statistics.median(
        seconds(contest, method) / seconds(contest, rival)
        for contest in among
        if method in contest.results and rival in contest.results
    )


def seconds(contest: Contest, method: str) -> float:
    """The wall time of all runs of a method."""
    return sum(run.wall_time for run in contest.results[method].runs)


def show(family: Family, method: str, rival: str, title: str) -> None:
    """The sentences on a family, and its cells."""
    print(f"\n{title}: {method} against {rival}")
    for sentence in sentences.family(family, method, rival):
        print(f"  {sentence}")
    for each, found in family.each:
        gain = words.gains(each.contest.measure, found.difference)
        names = f"{each.method.method} against {each.rival.method}"
        print(f"    {each.contest.name}: {gain}, {found.wins} wins, {found.word} ({names})")


def describe(contest: Contest, method: Result | None) -> None:
    """What a method came to besides its goal."""
    if method is None:
        return
    metrics = {
        name: f"{float(iqm(method.metric(name))):.3g}"
        for name in ("training_loss", *sorted(method.runs[0].metrics))
    }
    steps = int(statistics.median(run.steps for run in method.runs))
    print(f"  {contest.name}, {contest.spent}, {method.method}: {steps} steps, {metrics}")


def comparisons(cells: list[Contest]) -> None:
    """Pairs of methods, and the best of kinds."""
    for question, spent, method, rival in PAIRS:
        family = compare(_of(cells, question, spent), named(method), named(rival))
        show(family, method, rival, f"question {question}, {spent}")
    for spent in words.BUDGETS:
        show(one_draw(_of(cells, 3, spent)), "one draw", "the best rival", f"question 3, {spent}")
        hardest = [cell for cell in _of(cells, 6, spent) if cell.name.startswith("worst-case")]
        show(against_rivals(hardest), "PPRS", "the best rival", f"question 6, {spent}")


def outcomes(cells: list[Contest]) -> None:
    """What accuracy and loss do not tell: of the best PPRS, its rival, Adam, and fixed draws."""
    print("\ninterquartile means, and the median of steps")
    choosers: tuple[Chooser, ...] = (
        lambda cell: cell.best_of("pprs"),
        lambda cell: cell.best_of("rival"),
        *(named(name) for name in ("adam", "sgd", "k-64-filter")),
    )
    for cell in cells:
        if {3, 4} & set(cell.questions):
            chosen = {each.method: each for choose in choosers if (each := choose(cell))}
            for result in chosen.values():
                describe(cell, result)


def _of(cells: list[Contest], question: int, spent: Spent) -> list[Contest]:
    return [cell for cell in cells if question in cell.questions and cell.spent == spent]


def main() -> None:
    """Print all."""
    for ratio in (1e4, 1e5, 1e6):
        ratios = [row.ratio for row in accelerated_times(ratio=ratio)]
        print(f"AGD / lower bound, βR²/ε = {ratio:g}: {min(ratios):.2f} to {max(ratios):.2f}")
    cells = contests(read_results(Path(__file__).parent / "results.jsonl"))
    timed = [cell for cell in cells if cell.spent == "time"]
    for method in ("pprs-adam", "one-draw-adam"):
        ratio = slower(timed, method, "adam")
        print(f"wall time at equal pipeline time, {method} / adam: {ratio:.2f}")
    comparisons(cells)
    outcomes(cells)
    print()
    few_shot = len(_of(cells, 3, "time"))
    for luck in (0.0, 0.3, 0.5, 1.0):
        told = found_by_luck(luck, few_shot)
        print(
            f"{few_shot} cells, luck of {luck} standard deviations: a difference is found in "
            f"{told['seed']:.1%} of studies without one, by cells in {told['cell']:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
