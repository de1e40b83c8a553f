"""The number of microbatches that a cost model chooses, where costs are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pprs.pipeline.microbatch_tuning import best_microbatches, fit

POSITIVE = st.floats(1e-4, 1.0)


@given(POSITIVE, POSITIVE, st.integers(1, 8), st.integers(1, 8))
def test_where_the_model_holds_the_best_number_is_found_in_few_measurements(a, b, stages, power):
    possible = [2**i for i in range(power + 1)]
    measured = []

    def seconds(number):
        measured.append(number)
        return (number + stages - 1) * (a + b / number)

    chosen = best_microbatches(possible, lambda m: m + stages - 1, seconds)
    times = {m: (m + stages - 1) * (a + b / m) for m in possible}
    assert times[chosen] <= min(times.values()) * (1 + 1e-9)
    assert len(measured) == len(set(measured)) <= 3


@given(st.lists(POSITIVE, min_size=5, max_size=5))
def test_whatever_is_measured_the_choice_is_the_best_of_what_was(times):
    measured = {}

    def seconds(number):
        assert number not in measured
        measured[number] = times[(1, 2, 4, 8, 16).index(number)]
        return measured[number]

    chosen = best_microbatches([1, 2, 4, 8, 16], lambda m: m + 1, seconds)
    assert measured[chosen] == min(measured.values())


def test_a_single_possibility_is_not_measured():
    assert best_microbatches([3], lambda m: m, lambda m: 1 / 0) == 3


@given(POSITIVE, POSITIVE)
def test_the_fit_finds_the_model(a, b):
    found = fit(lambda m: m + 2, {m: (m + 2) * (a + b / m) for m in (1, 4, 32)})
    assert abs(found[0] - a) < 1e-6 * max(a, b)
    assert abs(found[1] - b) < 1e-6 * max(a, b)


def test_neither_part_of_the_fit_is_negative():
    assert fit(lambda m: m, {1: 1.0, 4: 1.0}) == pytest.approx((0, 1))
    falling = fit(lambda m: m, {1: 1.0, 4: 0.5})
    rising = fit(lambda m: m, {1: 1.0, 4: 8.0})
    assert falling[0] == 0 < falling[1]
    assert rising[1] == 0 < rising[0]
