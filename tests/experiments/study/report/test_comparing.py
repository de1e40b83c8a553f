import math

import numpy as np
import pytest
from scipy.stats import binom

from experiments.study.report.made import ACCURACY, LOSS, TIME, drawn, made
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.report.comparing import (
    Comparison,
    against_rivals,
    averaging,
    contests,
    in_pairs,
    kind,
    with_one_draw,
    without_smoothing,
)
from pprs_experiments.study.report.words import Measure

INF = math.inf
FALSE_ALARMS = 1e-4  # of each bound on a number of rejections


def gains(goal, ours, theirs):
    results = [made("c", "pprs", ours, goal=goal), made("c", "gd", theirs, goal=goal)]
    (contest,) = contests(results)
    comparison = Comparison.of(contest, contest.results["pprs"], contest.results["gd"])
    return comparison.gains.tolist()


def test_what_smooths_is_no_rival():
    rivals = {name for name in METHODS if kind(name) == "rival"}
    smoothed = {n for n in METHODS if n.startswith(("pprs", "one-draw", "k-", "no-mom", "default"))}
    assert rivals | smoothed == set(METHODS)
    assert not rivals & smoothed
    assert {"sgd", "adam", "lpf-sgd"} <= rivals


def test_gains_are_paired_and_more_is_better_whatever_the_goal():
    assert gains(ACCURACY, [0.6, 0.5], [0.5, 0.75]) == pytest.approx([0.1, -0.25])
    assert gains(LOSS, [0.6, 0.5], [0.5, 0.75]) == pytest.approx([-0.1, 0.25])
    assert gains(TIME, [100, 30], [200, 10]) == pytest.approx([math.log(2), -math.log(3)])


def test_infinite_outcomes_are_as_good_as_each_other_and_worse_than_all_others():
    assert gains(TIME, [INF, 5.0, INF], [INF, INF, 5.0]) == [0, INF, -INF]
    assert gains(ACCURACY, [-INF, 0.5], [-INF, -INF]) == [0, INF]
    assert gains(TIME, [0.0, 0.0], [0.0, 1.0]) == [0, INF]


def test_only_seeds_that_both_ran_are_paired():
    assert gains(ACCURACY, [0.6, 0.5, 0.9], [0.5, 0.75]) == pytest.approx([0.1, -0.25])
    assert gains(ACCURACY, [0.6, 0.5, 0.9], [0.5]) == []


@pytest.mark.parametrize(("goal", "best"), [(ACCURACY, "b"), (LOSS, "a"), (TIME, "a")])
def test_the_best_is_chosen_by_tuning_and_of_equal_ones_the_first(goal, best):
    outcomes = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.9}
    tuned = {"a": 0.1, "b": 0.9, "c": 0.1, "d": 0.9}
    results = [
        made("c", name, [value] * 2, goal=goal, tuned=tuned[name])
        for name, value in reversed(outcomes.items())
    ]
    (contest,) = contests(results)
    assert contest.best_of("rival").method == best
    assert contest.best_of("pprs") is None


def test_two_results_of_a_method_in_a_cell_are_refused():
    with pytest.raises(ValueError, match="got two of gd in c"):
        contests([made("c", "gd", [1.0, 2.0])] * 2)


def test_goals_that_differ_within_a_cell_are_refused():
    with pytest.raises(ValueError, match="must have one goal"):
        contests([made("c", "gd", [1.0, 2.0]), made("c", "agd", [1.0, 2.0], goal=LOSS)])


def test_cells_are_sorted_by_the_numbers_in_their_names():
    names = ["depth 4", "depth 16", "depth 100"]
    found = contests([made(name, "gd", [1.0, 2.0]) for name in reversed(names)])
    assert [contest.name for contest in found] == names


def planted(effect, goal=ACCURACY, seed=0):
    """Six cells in which PPRS differs from its rivals by an effect."""
    random, results = np.random.default_rng(seed), []
    for cell in range(6):
        easy = 0.02 * random.normal(size=10)  # the same examples for all methods
        for name, extra in (("pprs", effect), ("gd", 0.0), ("adam", -0.02)):
            outcomes = easy + drawn(random, 0.5 + extra, spread=0.01)
            results.append(made(f"c/{cell}", name, outcomes, goal=goal))
    return contests(results)


@pytest.mark.parametrize("goal", [ACCURACY, LOSS, TIME])
@pytest.mark.parametrize("effect", [0.1, -0.1])
def test_a_planted_difference_is_told_in_each_cell_and_over_all(goal, effect):
    better = (effect > 0) == (goal is ACCURACY)
    found = against_rivals(planted(effect, goal))
    words = {verdict.word for _, verdict in found.each}
    assert words == {"better" if better else "worse"}
    (together,) = found.together.values()
    assert together.word == ("better" if better else "worse")
    assert {comparison.rival.method for comparison, _ in found.each} == {
        "gd" if goal is ACCURACY else "adam"
    }


def test_what_some_cells_gain_and_others_lose_is_no_difference_with_cells_as_units():
    results = [
        made(f"c/{cell}", name, drawn(np.random.default_rng(cell), 0.5 + extra * (name == "pprs")))
        for cell, extra in enumerate((0.2, 0.2, 0.2, 0.2, 0.2, -0.2, -0.2))
        for name in ("pprs", "gd")
    ]
    found = against_rivals(contests(results))
    (together,), (by_cells,) = found.together.values(), found.by_cells.values()
    assert (together.word, by_cells.word) == ("better", "no difference seen")
    assert by_cells.difference.low < 0 < by_cells.difference.high
    (measure,) = found.together
    assert found.overall(measure) == {"all together": together, "all, by cells": by_cells}


def null_study(random, *, rivals_by_outcomes):
    """Five cells with eight methods that do not differ."""
    results = []
    for cell in range(5):
        easy = random.normal(size=10)
        for name in ("pprs", "pprs-filter", "pprs-adam", "gd", "agd", "adam", "sam", "sgd"):
            outcomes = easy + random.normal(size=10)
            by_outcomes = rivals_by_outcomes and kind(name) == "rival"
            tuned = outcomes.mean() if by_outcomes else random.normal()
            results.append(made(f"c/{cell}", name, outcomes, tuned=float(tuned)))
    return contests(results)


def alarms(studies, **how):
    """In how many studies without any difference one is seen: in a cell, and over all cells."""
    random, single, together = np.random.default_rng(0), 0, 0
    for _ in range(studies):
        found = against_rivals(null_study(random, **how), draws=100)
        single += any(verdict.word != "no difference seen" for _, verdict in found.each)
        together += any(v.word != "no difference seen" for v in found.together.values())
    return single, together


@pytest.mark.slow
def test_where_nothing_differs_one_study_in_twenty_at_most_says_so():
    # Each rate is at most 5 %, of 600 studies it was 2.7 % for cells and 1.3 % over all; the bound
    # has false alarms of 1e-4. With the rival chosen by the outcomes that are compared, PPRS seems
    # worse over all cells in 24 %.
    studies = 200
    most = binom.isf(FALSE_ALARMS, studies, 0.05)
    assert max(alarms(studies, rivals_by_outcomes=False)) <= most
    assert alarms(studies, rivals_by_outcomes=True)[1] > most


def test_cells_without_a_method_or_rival_or_seeds_are_left_out_with_a_reason():
    found = against_rivals(
        contests(
            [
                *(made("a", name, [0.1, 0.2, 0.3]) for name in ("pprs", "gd")),
                made("b", "gd", [0.1, 0.2]),
                *(made("c", name, [0.1, 0.2]) for name in ("pprs", "one-draw", "default-1", "k-4")),
                *(made("d", name, [0.1]) for name in ("pprs", "gd")),
            ]
        )
    )
    assert [comparison.contest.name for comparison, _ in found.each] == ["a"]
    assert {contest.name: why for contest, why in found.left_out} == {
        "b": "no such method",
        "c": "no rival",
        "d": "fewer than two seeds in common",
    }


def test_goals_of_different_units_are_not_taken_together():
    results = [
        made(goal.metric, name, [0.1, 0.2], goal=goal)
        for goal in (ACCURACY, LOSS, TIME)
        for name in ("pprs", "gd")
    ]
    found = against_rivals(contests(results))
    assert set(found.together) == {Measure.of(goal, "time") for goal in (ACCURACY, LOSS, TIME)}
    assert all(len(found.of(measure)) == 1 for measure in found.together)


def test_averaging_is_compared_with_one_draw_and_one_draw_is_not_averaging():
    random = np.random.default_rng(0)
    middles = {"pprs": 0.5, "pprs-k1": 0.9, "pprs-filter": 0.6, "one-draw": 0.3, "adam": 0.8}
    found = averaging(contests([made("c", n, drawn(random, m)) for n, m in middles.items()]))
    ((comparison, verdict),) = found.each
    assert (comparison.method.method, comparison.rival.method) == ("pprs-filter", "one-draw")
    assert verdict.word == "better"


def test_pairs_are_those_with_the_same_end():
    names = ["pprs", "pprs-adam", "pprs-filter", "one-draw", "one-draw-adam", "adam"]
    names += ["k-1-filter", "k-16-filter", "k-4", "no-momentum"]
    found = contests([made("c", name, [0.1, 0.2]) for name in names])
    assert with_one_draw(found) == {
        "pprs": "one-draw",
        "pprs-adam": "one-draw-adam",
        "k-16-filter": "k-1-filter",
    }


def test_pairs_are_judged_over_the_cells_that_have_both():
    random = np.random.default_rng(0)
    results = [made(f"c/{i}", "pprs", drawn(random, 0.6)) for i in range(4)]
    results += [made(f"c/{i}", "one-draw", drawn(random, 0.5)) for i in range(3)]
    found = in_pairs(contests(results), {"pprs": "one-draw", "pprs-adam": "one-draw-adam"})
    ((pair, verdict),) = found.items()
    assert pair == ("pprs", "one-draw", Measure.of(ACCURACY, "time"))
    assert (verdict.word, verdict.wins) == ("better", 30)


def test_what_smooths_is_paired_with_the_same_step():
    names = ("pprs-adam", "one-draw-adam", "pprs-filter", "one-draw", "default-0.1", "k-4", "gd")
    found = without_smoothing(contests(made("c", name, [0.1, 0.2]) for name in names))
    assert found == {
        "one-draw": "agd",
        "one-draw-adam": "adam",
        "pprs-adam": "adam",
        "pprs-filter": "agd",
    }
