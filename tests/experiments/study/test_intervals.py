import math

import numpy as np
import pytest
from scipy.stats import binom

from pprs_experiments.study.intervals import Interval, growth, interval
from pprs_experiments.study.statistics import iqm

INF = math.inf
FALSE_ALARMS = 1e-4  # of each bound on a number of misses


def most_misses(repeats, rate=0.05):
    """What an interval that misses at this rate does not exceed, but for a false alarm."""
    return binom.isf(FALSE_ALARMS, repeats, rate)


def misses(truth, samples, **options):
    found = [interval(x, draws=800, seed=i, **options) for i, x in enumerate(samples)]
    return sum(not each.low <= truth <= each.high for each in found)


def test_the_interval_of_two_seeds_is_the_percentile_of_the_exact_law():
    # A mean drawn from 0 and 1 is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4. At these levels the ends
    # are percentiles 0.3 and 0.2, since for two seeds t is Cauchy's; 4000 draws are 7 sigma away.
    # Without being moved outwards both would be above 1/4. False alarms: below 1e-8.
    inner, outer = interval([[0.0, 1.0]], level=0.226), interval([[0.0, 1.0]], level=0.342)
    assert inner == Interval(0.5, 0.5, 0.5)
    assert outer == Interval(0.5, 0.0, 1.0)


def test_seeds_are_drawn_within_their_cells():
    assert interval([[1.0, 1.0], [5.0, 5.0, 5.0], [9.0, 9.0]]) == Interval(5.0, 5.0, 5.0)


def test_cells_of_other_lengths_enter_with_all_their_seeds():
    cells = [[1.0, 2.0, 3.0], [10.0, 20.0]]
    assert interval(cells).value == pytest.approx(iqm([1.0, 2, 3, 10, 20]))


def test_the_same_seed_gives_the_same_interval():
    cells = np.random.default_rng(0).normal(size=(2, 10))
    assert interval(cells, seed=3) == interval(cells, seed=3)
    assert interval(cells, seed=3) != interval(cells, seed=4)


@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_ten_seeds_hold_the_truth_at_least_as_often_as_said(law):
    repeats = 1500
    samples = getattr(np.random.default_rng(0), law)(size=(repeats, 1, 10))
    # The interquartile mean of an exponential law: 2 ∫ -log(1 - u) du over the middle half.
    truth = 0.0 if law == "normal" else 2 * (_xlogx(0.25) - _xlogx(0.75) + 0.5)
    missed = misses(truth, samples)
    assert missed <= most_misses(repeats)
    # nor are they much too wide; an interval of 99 % would be caught with a chance above 0.999
    assert missed >= binom.ppf(FALSE_ALARMS, repeats, 0.03)
    # what the limit is worth: intervals of 88 % exceed it
    assert misses(truth, samples, level=0.88) > most_misses(repeats)


def _xlogx(x):
    return x * math.log(x)


@pytest.mark.slow
def test_what_the_seeds_of_a_cell_share_is_in_the_interval_with_cells_as_units():
    repeats, cells, seeds = 200, 8, 10
    random = np.random.default_rng(1)
    samples = random.normal(size=(repeats, cells, 1)) + random.normal(size=(repeats, cells, seeds))
    # Missed by 5.5 % with cells as units, by 47 % with seeds.
    assert misses(0.0, samples, unit="cell") <= most_misses(repeats)
    assert misses(0.0, samples) > most_misses(repeats, 0.2)


def test_whole_cells_are_drawn_again():
    cells = [[1.0, 1.0]] * 3 + [[9.0, 9.0]] * 3
    assert interval(cells, unit="cell") == Interval(5.0, 1.0, 9.0)
    uneven = [[1.0, 1.0]] * 5 + [[9.0] * 40]  # its length counts, too
    assert interval(uneven, unit="cell") == Interval(9.0, 1.0, 9.0)


@pytest.mark.parametrize(("cells", "limited"), [(1, False), (5, False), (6, True)])
def test_few_cells_as_units_set_no_limits(cells, limited):
    found = interval(np.arange(2.0 * cells).reshape(cells, 2), unit="cell")
    assert math.isfinite(found.low) == math.isfinite(found.high) == limited
    assert math.isfinite(found.value)


def test_what_is_often_not_reached_has_no_upper_limit():
    found = interval([[1.0, 2, 3, 4, 5, 6, 7, 8, INF, INF]])
    assert (found.value, found.high) == (iqm([1, 2, 3, 4, 5, 6, 7, 8, 9, 9]), INF)
    assert 1 < found.low < found.value
    assert interval([[INF] * 4]) == Interval(INF, INF, INF)


def test_infinities_of_both_signs_leave_no_limits():
    found = interval([[-INF] * 5 + [INF] * 5])
    assert math.isnan(found.value)
    assert (found.low, found.high) == (-INF, INF)


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (Interval(1.0, 0.92, 1.09), "yes"),
        (Interval(1.03, 1.02, 1.04), "yes"),
        (Interval(1.0, 0.8, 1.05), "cannot say"),
        (Interval(1.0, 0.95, 1.2), "cannot say"),
        (Interval(1.2, 1.05, 1.3), "cannot say"),
        (Interval(1.2, 1.11, 1.3), "no"),
        (Interval(0.5, 0.4, 0.6), "no"),
        (Interval(math.nan, -INF, INF), "cannot say"),
    ],
)
def test_a_figure_is_near_a_value_if_its_whole_interval_is(found, answer):
    assert found.near(1, margin=0.1) == answer


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 2.0])
def test_the_exponent_of_an_exact_power_is_found(power):
    sizes = [1, 3, 10, 50]
    found = growth(sizes, [[7.0 * size**power] * 3 for size in sizes])
    assert (found.value, found.low, found.high) == pytest.approx((power, power, power))


def test_one_seed_that_takes_much_longer_does_not_change_the_exponent():
    sizes = [1, 2, 4, 8]
    times = [[size * 1.0] * 9 + [1e6 if size == 8 else size] for size in sizes]
    assert growth(sizes, times).value == pytest.approx(1)


def test_proportional_times_are_told_from_others():
    # 300 sets of times with 30 % noise: of those in proportion at most 5 % may be missed, within a
    # bound with false alarms of 1e-4; an exponent of 1.2 is far more often outside than that.
    repeats, sizes = 300, 2.0 ** np.arange(5)
    noise = np.exp(0.3 * np.random.default_rng(0).normal(size=(repeats, 5, 10)))
    missed = {}
    for power in (1.0, 1.2):
        found = [
            growth(sizes, sizes[:, None] ** power * each, draws=800, seed=i)
            for i, each in enumerate(noise)
        ]
        missed[power] = sum(not each.low <= 1 <= each.high for each in found)
    assert missed[1.0] <= most_misses(repeats)
    assert missed[1.2] > 0.95 * repeats


def test_there_is_no_exponent_where_a_size_was_never_reached():
    found = growth([1, 2, 4], [[1.0, 1.1], [2.0, 2.1], [INF, INF]])
    assert math.isnan(found.value)
    assert (found.low, found.high) == (-INF, INF)
    # Two of ten seeds are trimmed, but in more than a hundredth of the draws there are more.
    often = growth([1, 2], [[1.0] * 10, [2.0] * 8 + [INF] * 2])
    assert often == Interval(pytest.approx(1), -INF, INF)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(level=1.0), "level must be above 0 and below 1, got 1.0"),
        (dict(draws=0), "draws must be an integer of at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    for unit in ("seed", "cell"):
        with pytest.raises(ValueError, match=said):
            interval([[1.0, 2.0], [1.0, 2.0, 3.0]], unit=unit, **options)
    with pytest.raises(ValueError, match=said):
        growth([1, 2], [[1.0, 2.0], [1.0, 2.0, 3.0]], **options)


@pytest.mark.parametrize(
    ("sizes", "times", "said"),
    [
        ([1, 0], [[1.0, 1.0]] * 2, r"sizes\[1\] must be a finite number above 0"),
        ([1, 2, 3], [[1.0, 1.0]] * 2, "a row for each of 3 sizes, got 2"),
        ([2, 2], [[1.0, 1.0]] * 2, "at least two that differ"),
        ([1, 2], [[1.0, 0.0]] * 2, "times must be above 0"),
        ([1, 2], [[1.0], [2.0]], "times must be cells of at least two seeds"),
    ],
)
def test_what_cannot_be_fitted_is_refused(sizes, times, said):
    with pytest.raises(ValueError, match=said):
        growth(sizes, times)
