import math

import numpy as np
import pytest

from experiments.study.report.made import TIME, drawn, made
from pprs_experiments.study.report import sentences
from pprs_experiments.study.report.comparing import against_rivals, contests
from pprs_experiments.study.report.defaults import defaults
from pprs_experiments.study.report.sweeps import against_gpipe, sweeps


def judged(effect):
    random, results = np.random.default_rng(0), []
    for cell in range(6):
        easy = 0.05 * random.normal(size=10)
        for name, extra in (("pprs", effect), ("gd", 0.0)):
            results.append(made(f"c/{cell}", name, easy + drawn(random, extra, spread=0.01)))
    return sentences.family(against_rivals(contests(results)), "PPRS", "GD")


@pytest.mark.parametrize(
    ("effect", "said", "count"),
    [
        (0.1, "PPRS is better", "better in 6"),
        (-0.1, "PPRS is worse", "worse in 6"),
        (0.0, "no difference is seen", "no difference seen in 6"),
    ],
)
def test_a_verdict_is_said_with_its_figures(effect, said, count):
    together, by_cells, one_by_one = judged(effect)
    assert together.startswith(f"Over 6 cells, {said}: against GD, more test accuracy, points: ")
    assert f"{100 * effect:.0f}."[:2] in together
    assert by_cells.startswith(
        f"With cells as units, since the seeds of a cell share its tuning, {said}: "
    )
    assert count in one_by_one


def test_of_one_cell_nothing_is_said_of_others():
    results = [made("c", "pprs", [0.2, 0.3]), made("c", "gd", [0.1, 0.1])]
    together, by_cells, one_by_one = sentences.family(
        against_rivals(contests(results)), "PPRS", "GD"
    )
    assert together.startswith("Over 1 cell, ")
    assert by_cells.startswith("1 cell cannot tell how much of that is luck")
    assert one_by_one.startswith("Cell by cell, ")


def test_where_nothing_can_be_compared_it_says_so():
    (left_out, *none) = sentences.family(
        against_rivals(contests([made("c", "pprs", [0.1, 0.2])])), "PPRS", "GD"
    )
    assert (left_out, none) == ("1 cell cannot be compared.", [])
    assert sentences.family(against_rivals([]), "PPRS", "GD") == [sentences.NOTHING]


def test_a_default_is_said_to_be_one_or_not():
    results = [made("c", "pprs", [0.5] * 5), made("c", "default-a", [0.495] * 5)]
    results.append(made("c", "default-b", [0.4] * 5))
    yes, no = sentences.defaults(defaults(contests(results)))
    assert "1 of 1 cell " in yes
    assert "so it is a default" in yes
    assert "0 of 1 cell " in no
    assert "so it is no default" in no


def sweep(*ratios):
    results = [
        made(f"c/m {m}", name, [time] * 5, goal=TIME, task={"examples": m})
        for m, ratio in zip((1, 4, 16), ratios, strict=True)
        for name, time in (("pprs", 100.0), ("sgd", 100.0 * ratio))
    ]
    (found,) = sweeps(contests(results))
    return sentences.crossing(found, against_gpipe(found))


def test_the_crossing_with_gpipe_is_said():
    assert sweep(2.0, 2.0, 0.5) == [
        "c: of examples m = 1, 4, 16, PPRS is ahead of SGD, GPipe at 1, 4 by the estimates; "
        "they cross near 8."
    ]
    assert "at none by the estimates; they do not cross" in sweep(0.5, 0.5, 0.1)[0]


def test_the_power_of_depth_and_the_constant_are_said():
    power, constant = sentences.accelerated([(d, 6.0 * d, 2.0 * d) for d in (1, 10)])
    assert "Δ to the power 1.000" in power
    assert "3 to 3 times the lower bound" in constant
    assert sentences.accelerated([(1, math.inf, 1.0)]) == []
    assert len(sentences.accelerated([(1, 4.0, 1.0)])) == 1
