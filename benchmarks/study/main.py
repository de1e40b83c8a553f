"""Figures of docs/study.md that no report has: `python benchmarks/study/main.py`."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np

from pprs.study.report.comparing import Contest, contests
from pprs.study.results import read_results
from pprs.study.smooth import accelerated_times
from pprs.study.verdicts import verdict

STUDIES = 2000
SEEDS = 10


def found_by_luck(luck: float, cells: int) -> dict[str, float]:
    """The part of studies without a difference that tell one, by what is taken as a unit.

    Args:
        luck: in tuning, of each cell, in standard deviations of a seed.
        cells: of a study.
    """
    random, told = np.random.default_rng(0), dict.fromkeys(("seed", "cell"), 0)
    for _ in range(STUDIES):
        gains = luck * random.normal(size=(cells, 1)) + random.normal(size=(cells, SEEDS))
        for unit in told:
            word = verdict(gains, better="higher", unit=unit, draws=200).word
            told[unit] += word != "no difference seen"
    return {unit: count / STUDIES for unit, count in told.items()}


def slower(among: list[Contest], method: str, rival: str) -> float:
    """By what factor a method's runs take more wall time than its rival's, median over cells."""
    return statistics.median(
        seconds(contest, method) / seconds(contest, rival)
        for contest in among
        if method in contest.results and rival in contest.results
    )


def seconds(contest: Contest, method: str) -> float:
    """Of all runs of a method."""
    return sum(run.wall_time for run in contest.results[method].runs)


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
    few_shot = sum(3 in cell.questions for cell in timed)
    for luck in (0.0, 0.3, 0.5, 1.0):
        told = found_by_luck(luck, few_shot)
        print(
            f"{few_shot} cells, luck of {luck} standard deviations: a difference is told in "
            f"{told['seed']:.1%} of studies without one, by cells in {told['cell']:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
