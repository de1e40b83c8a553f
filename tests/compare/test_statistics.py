import math

import numpy as np
import pytest
from scipy import stats

from pprs.compare.statistics import best, difference, differences

SEEDS, RIVALS = 5, 4


def test_the_interval_is_students():
    ours, theirs = [0.7, 0.8, 0.72, 0.9], [0.6, 0.75, 0.7, 0.7]
    found = difference(ours, theirs)
    wanted = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    wider = difference(ours, theirs, comparisons=4)
    wanted = stats.ttest_rel(ours, theirs).confidence_interval(1 - 0.05 / 4)
    assert (wider.low, wider.high) == pytest.approx((wanted.low, wanted.high))


def test_seeds_that_agree_by_chance_are_not_certain():
    same = difference([0.6, 0.6], [0.5, 0.5], resolution=0.1)
    assert same.low < 0 < same.high
    assert difference([0.6] * 5, [0.6] * 5).seen is False


def test_a_seed_that_diverged_leaves_no_limits_and_one_seed_says_nothing():
    lost = difference([0.6, math.nan], [0.5, 0.5])
    assert (lost.low, lost.high) == (-math.inf, math.inf)
    assert difference([0.6], [0.5]) is None


def planted(rng, ahead):
    """Outcomes of a plain method and rivals, ahead of it by so much: seeds share what is hard."""
    shared = rng.normal(0, 0.1, SEEDS)
    each = rng.normal(0, 0.03, (RIVALS + 1, SEEDS)) + shared
    return {i: list(row + (i > 0) * ahead) for i, row in enumerate(each)}


def named(ahead, tries=1000):
    rng, price = np.random.default_rng(0), dict.fromkeys(range(RIVALS + 1), 1.0)
    found = [best(planted(rng, ahead), price, higher_is_better=True) for _ in range(tries)]
    return sum(name > 0 for name in found) / tries


def test_where_nothing_is_better_a_method_is_named_in_one_of_40_comparisons_at_most():
    # 2.5 %, and three standard errors of what is simulated.
    assert named(ahead=0.0) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)


def test_what_is_better_by_far_is_named_nearly_always():
    assert named(ahead=0.15) > 0.95


def test_of_two_that_are_better_the_cheaper_is_taken_unless_the_other_is_better_still():
    plain = [0.50, 0.52, 0.51, 0.49]
    good = {"plain": plain, "draw": [x + 0.101 for x in plain], "mean": [x + 0.1 for x in plain]}
    good["mean"][0] += 0.01
    price = {"plain": 1, "draw": 1, "mean": 3}
    assert best(good, price, higher_is_better=True) == "draw"
    still = good | {"mean": [x + 0.2 + i / 100 for i, x in enumerate(plain)]}
    assert best(still, price, higher_is_better=True) == "mean"
    assert best({k: [-x for x in v] for k, v in still.items()}, price, higher_is_better=False) == (
        "mean"
    )


def test_differences_count_what_is_better():
    lower = differences({"a": [1.0, 2.0], "b": [0.5, 1.4]}, higher_is_better=False)
    assert lower["a"] is None
    assert lower["b"].mean == pytest.approx(0.55)
