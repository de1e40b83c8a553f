import math

import numpy as np
import pytest
from scipy.stats import trim_mean

from pprs_experiments.study.statistics import differences, iqm

INF = math.inf


@pytest.mark.parametrize("n", range(1, 24))
def test_the_interquartile_mean_is_that_of_a_sample_in_which_each_value_stands_four_times(n):
    values = np.random.default_rng(n).exponential(size=n)
    assert iqm(values) == pytest.approx(trim_mean(np.repeat(values, 4), 0.25))


def test_of_ten_values_the_third_and_the_eighth_count_half():
    values = [900.0, 0, 1, 2, 4, 8, 16, 32, 64, -900]
    assert iqm(values) == pytest.approx((1 / 2 + 2 + 4 + 8 + 16 + 32 / 2) / 5)


def test_the_mean_is_taken_along_the_last_axis():
    rows = np.random.default_rng(0).normal(size=(2, 3, 7))
    assert iqm(rows).shape == (2, 3)
    assert iqm(rows)[1, 2] == iqm(rows[1, 2])


@pytest.mark.parametrize("n", range(1, 14))
def test_the_mean_is_infinite_if_more_than_a_quarter_is(n):
    for never in range(n + 1):
        values = np.array([INF] * never + [1.0] * (n - never))
        expected = INF if never > n / 4 else 1.0
        assert iqm(values) == pytest.approx(expected)
        assert iqm(-values) == pytest.approx(-expected)


def test_infinities_of_both_signs_leave_no_mean_unless_they_are_trimmed():
    assert math.isnan(iqm([-INF, -INF, INF, INF]))
    assert iqm([-INF, 3, 5, INF]) == 4


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "at least one along the last axis"),
        (3.0, "at least one along the last axis"),
        ([1.0, math.nan], "say infinity for what was never reached"),
    ],
)
def test_what_has_no_mean_is_refused(values, said):
    with pytest.raises(ValueError, match=said):
        iqm(values)


def test_differences_are_taken_seed_by_seed_in_each_cell():
    ours, theirs = [[3.0, 1.0], [5.0, 6.0, 7.0]], [[1.0, 4.0], [5.0, 5.0, 9.0]]
    first, second = differences(ours, theirs)
    assert first.tolist() == [2, -3]
    assert second.tolist() == [0, 1, -2]


def test_two_that_never_arrived_are_equal_and_one_that_did_differs_infinitely():
    (cell,) = differences([[INF, INF, 5.0, -INF]], [[INF, 5.0, INF, -INF]])
    assert cell.tolist() == [0, INF, -INF, 0]


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ([[1.0, 2.0, 3.0]], r"numbers of seeds \[3\] and \[2\]"),
        ([[1.0, 2.0], [1.0, 2.0]], r"numbers of seeds \[2, 2\] and \[2\]"),
        ([[1.0]], "method must be cells of at least two seeds"),
        ([1.0, 2.0], "for one cell pass a list that holds it"),
        ([], "method must be cells"),
        ([[1.0, math.nan]], "method must not hold NaN"),
    ],
)
def test_what_does_not_match_is_refused(ours, said):
    with pytest.raises(ValueError, match=said):
        differences(ours, [[1.0, 2.0]])
