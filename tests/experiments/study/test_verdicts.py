import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, rankdata, wilcoxon

from pprs_experiments.study.statistics import differences
from pprs_experiments.study.verdicts import holm, rank_test, verdict, verdicts

INF = math.inf
FALSE_ALARMS = 1e-4  # of each bound on a number of rejections


def most_rejections(repeats, rate=0.05):
    """What a test that errs at this rate does not exceed, but for a false alarm."""
    return binom.isf(FALSE_ALARMS, repeats, rate)


def p_of_all_signs(cells, unit="seed"):
    """The p-value by going through all changes of signs, of cells without zeros."""
    ranks = np.array([np.sign(cell) * rankdata(np.abs(cell)) for cell in np.asarray(cells)])
    units = ranks.sum(axis=1) if unit == "cell" else ranks.ravel()
    signs = np.array(list(itertools.product([-1, 1], repeat=units.size)))
    return np.mean(np.abs(signs @ units) >= abs(units.sum()) - 1e-9)


@pytest.mark.parametrize("n", [2, 5, 10, 25])
def test_in_one_cell_without_ties_it_is_the_test_of_wilcoxon(n):
    cell = np.random.default_rng(n).normal(0.3, 1, size=n)
    found = rank_test([cell])
    assert found.p == pytest.approx(wilcoxon(cell, method="exact").pvalue)
    ranks = np.sign(cell) * rankdata(np.abs(cell))
    assert found.balance == pytest.approx(ranks.sum() / (n * (n + 1) / 2))


@pytest.mark.parametrize("unit", ["seed", "cell"])
def test_with_ties_and_several_cells_it_counts_all_changes_of_signs(unit):
    random = np.random.default_rng(0)
    for _ in range(20):
        cells = random.integers(1, 4, size=(2, 5)) * random.choice([-1, 1, 1], size=(2, 5))
        found = rank_test(cells, unit=unit)
        assert found.p == pytest.approx(p_of_all_signs(cells, unit))


def test_no_cell_counts_more_for_its_scale():
    cells = np.random.default_rng(0).normal(0.5, 1, size=(3, 6))
    scaled = cells * np.array([[1.0], [1e3], [1e-3]])
    assert rank_test(scaled) == rank_test(cells)


def test_equal_pairs_are_left_out():
    without = rank_test([[3.0, 1, 2, 4]])
    assert rank_test([[0.0, 0, 3, 1, 2, 4]]) == replace(without, neither=2)
    nothing = rank_test([[0.0, 0.0]])
    assert (nothing.p, nothing.balance) == (1.0, 0.0)


def test_infinite_differences_are_the_largest_and_equal_among_each_other():
    assert rank_test([[INF, -1.0, 2, -INF, INF]]) == rank_test([[9.0, -1.0, 2, -9, 9]])


def test_the_law_over_many_cells_is_near_its_normal_limit():
    # 600 pairs: against the normal limit, whose error is far below a hundredth here
    cells = np.random.default_rng(0).normal(0.1, 1, size=(60, 10))
    found = rank_test(cells)
    z = found.balance * 60 * 55 / math.sqrt(60 * 385)
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.02)


def test_the_correction_is_that_of_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ValueError, match="p must be from 0 to 1"):
        holm([0.1, wrong])


def test_of_useless_methods_one_in_twenty_families_at_most_has_one_that_seems_to_matter():
    # Families of 5 comparisons of 2 cells without any difference. At most 5 % may reject one,
    # within a bound with false alarms of 1e-4; without correction about 20 % do, which exceeds it.
    repeats, random = 400, np.random.default_rng(0)
    rejected = uncorrected = words = 0
    for i in range(repeats):
        family = dict(enumerate(random.standard_t(3, size=(5, 2, 10))))
        found = verdicts(family, better="higher", draws=400, seed=i).values()
        rejected += any(each.corrected <= 0.05 for each in found)
        uncorrected += any(each.p <= 0.05 for each in found)
        words += any(each.word != "no difference seen" for each in found)
    assert words <= rejected <= most_rejections(repeats)
    assert uncorrected > most_rejections(repeats)


@pytest.mark.parametrize(("cells", "comparisons", "rate"), [(1, 1, 0.6), (3, 10, 0.85)])
def test_an_effect_of_one_standard_deviation_is_mostly_seen(cells, comparisons, rate):
    # One method is better, the others are not. It was seen in 0.68 (one cell, alone) and 0.99 of
    # simulations (three cells, among ten); the bounds are for 0.6 and 0.85, where they would raise
    # false alarms of 1e-4.
    repeats, random = 200, np.random.default_rng(1)
    seen = 0
    for i in range(repeats):
        family = dict(enumerate(random.normal(size=(comparisons, cells, 10))))
        family[0] += 1
        seen += verdicts(family, better="higher", draws=400, seed=i)[0].word == "better"
    assert seen >= binom.ppf(FALSE_ALARMS, repeats, rate)


def tuned(random, luck, cells=7):
    """No difference but luck in tuning, in standard deviations of a seed, shared by ten seeds."""
    return luck * random.normal(size=(cells, 1)) + random.normal(size=(cells, 10))


@pytest.mark.slow
def test_luck_that_the_seeds_of_a_cell_share_is_heeded_with_cells_as_units():
    # 500 comparisons without a difference but luck in tuning of half a standard deviation. At most
    # 5 % may be told apart, within a bound with false alarms of 1e-4; with seeds as units 17 % are.
    repeats, random = 500, np.random.default_rng(2)
    told = dict.fromkeys(("seed", "cell"), 0)
    for _ in range(repeats):
        cells = tuned(random, luck=0.5)
        for unit in told:
            found = verdict(cells, better="higher", unit=unit, draws=200)
            told[unit] += found.word != "no difference seen"
    assert told["cell"] <= most_rejections(repeats)
    assert told["seed"] > most_rejections(repeats, 0.1)


def test_an_effect_in_seven_cells_is_mostly_seen_with_cells_as_units():
    # It was seen in 0.91 to 0.94 of simulations; the bound is for 0.8, with false alarms of 1e-4.
    repeats, random = 200, np.random.default_rng(3)
    seen = sum(
        verdict(1 + tuned(random, luck=0.5), better="higher", unit="cell", draws=200).word
        == "better"
        for _ in range(repeats)
    )
    assert seen >= binom.ppf(FALSE_ALARMS, repeats, 0.8)


@pytest.mark.parametrize(("cells", "word"), [(5, "no difference seen"), (6, "better")])
def test_with_cells_as_units_fewer_than_six_decide_nothing(cells, word):
    found = verdict(np.ones((cells, 10)), better="higher", unit="cell")
    assert found.word == word
    assert found.p == 2 ** (1 - cells)


def test_a_verdict_holds_the_figures():
    found = verdict([[1.0, 2, 3, 4, 5, 6, 7, 8, 0, -1]], better="higher")
    assert (found.word, found.wins, found.ties, found.losses) == ("better", 8, 1, 1)
    assert found.difference.value == pytest.approx(3.5)
    assert 0 < found.difference.low < 3.5 < found.difference.high
    assert found.p == found.corrected == rank_test([[1.0, 2, 3, 4, 5, 6, 7, 8, -1]]).p


def test_of_times_lower_ones_are_better():
    faster = differences([[1.0, 2, 3, 4, 5, 6, 7, 8]], [[9.0, 9, 9, 9, 9, INF, INF, INF]])
    found = verdict(faster, better="lower")
    assert (found.word, found.wins, found.losses) == ("better", 8, 0)
    assert verdict(faster, better="higher").word == "worse"
    slower = [-cell for cell in faster]
    assert verdict(slower, better="lower").word == "worse"


def test_a_method_that_arrives_where_its_rival_never_does_is_better():
    always, never = [[5.0] * 10], [[INF] * 10]
    assert verdict(differences(always, never), better="lower").word == "better"
    assert verdict(differences(never, always), better="lower").word == "worse"
    assert verdict(differences(never, never), better="lower").word == "no difference seen"


def test_ten_seeds_in_one_cell_decide_at_most_25_comparisons():
    clear = [list(range(1, 11))]
    for comparisons, word in ((25, "better"), (26, "no difference seen")):
        found = verdicts(dict.fromkeys(range(comparisons), clear), better="higher")
        assert {each.word for each in found.values()} == {word}


def test_the_interval_alone_does_not_decide():
    found = verdict([[1.0, 2, 3, 4, 5]], better="higher")
    assert found.difference.low > 0
    assert (found.p, found.word) == (0.0625, "no difference seen")


def test_the_ranks_alone_do_not_decide():
    small = [0.001 * i for i in range(1, 11)]
    large = [12.0, -11, 10, -9, 8, -7, 6, -5, 4, -3]
    found = verdict([small, large], better="higher")
    assert found.corrected < 0.05
    assert found.difference.low < 0 < found.difference.high
    assert found.word == "no difference seen"


def test_ranks_and_interval_that_contradict_each_other_decide_nothing():
    # A cell of many seeds has most of the ranks, forty cells of few seeds have the middle half.
    found = verdict([list(range(1, 41)), *[[-5.0, -6.0]] * 40], better="higher")
    assert found.corrected < 0.05
    assert found.balance > 0 > found.difference.high
    assert found.word == "no difference seen"


def test_another_direction_than_higher_or_lower_is_refused():
    with pytest.raises(ValueError, match="better must be 'higher' or 'lower', got 'more'"):
        verdict([[1.0, 2.0]], better="more")


def test_the_comparison_that_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"comparisons\['Adam'\] must not hold NaN"):
        verdicts({"SGD": [[1.0, 2.0]], "Adam": [[1.0, math.nan]]}, better="higher")
