from dataclasses import replace
from itertools import pairwise

import pytest
from compare.made import COSTS, FOUND

from pprs.compare import CompareConfig
from pprs.compare.amount import Amount, estimated, fitted, wanted

CONFIG = CompareConfig(side_by_side=1, time="1h", trials=5, tuning_seeds=2, seeds=8, steps=100)
ALL = sum(estimated(CONFIG, FOUND, COSTS, wanted(CONFIG, FOUND)))


def fit(left):
    return fitted(CONFIG, FOUND, COSTS, left)


def test_all_that_is_wanted_is_run_if_the_time_is_enough():
    assert fit(1.2 * ALL) == wanted(CONFIG, FOUND)
    assert fit(1.2 * ALL).less_than(wanted(CONFIG, FOUND)) == []


def test_less_time_leaves_out_seeds_of_trials_then_trials_then_seeds_then_steps():
    shares = [1.2, 0.9, 0.5, 0.4, 0.3, 0.2, 0.12]
    found = [fit(share * ALL) for share in shares]
    for more, less in pairwise(found):
        assert (less.steps, less.seeds, less.trials, less.tuning_seeds) <= (
            more.steps, more.seeds, more.trials, more.tuning_seeds
        )  # fmt: skip
    assert found[1] == replace(wanted(CONFIG, FOUND), tuning_seeds=1)
    assert found[-1].steps < 100
    assert found[-1].seeds >= 3
    for amount, share in zip(found, shares, strict=True):
        assert sum(estimated(CONFIG, FOUND, COSTS, amount)) < share * ALL
    words = found[-1].less_than(wanted(CONFIG, FOUND))
    assert words[-1] == f"{found[-1].steps} of 100 steps"


def test_too_little_time_is_refused_with_what_is_needed():
    with pytest.raises(ValueError, match=r"--time 1h is not enough: .* takes about --time \d+"):
        fit(0.001 * ALL)


def test_a_budget_that_pays_for_no_smoothed_step_is_refused():
    with pytest.raises(ValueError, match="1 steps .* does not pay for one step of PPRS, 62"):
        fitted(CONFIG, replace(FOUND, steps=1), COSTS, 1e9)


def test_a_busy_machine_is_left_more_time():
    assert fitted(CONFIG, FOUND, COSTS, 1.2 * ALL, 2.0).steps <= 100
    assert sum(
        estimated(CONFIG, FOUND, COSTS, fitted(CONFIG, FOUND, COSTS, 1.2 * ALL, 2.0))
    ) < 0.6 * ALL  # fmt: skip
    assert fitted(CONFIG, FOUND, COSTS, 2.4 * ALL, 2.0) == wanted(CONFIG, FOUND)


def test_what_trials_left_of_the_time_is_used():
    first = Amount(trials=3, tuning_seeds=1, seeds=3, steps=12)
    _, training = estimated(CONFIG, FOUND, COSTS, replace(first, seeds=8, steps=100))
    again = [
        fitted(CONFIG, FOUND, COSTS, share * training, 1.0, first) for share in (1.2, 0.62, 0.2, 0)
    ]
    assert again[0] == replace(first, seeds=8, steps=100)
    assert (again[1].steps, again[1].trials, again[1].tuning_seeds) == (100, 3, 1)
    assert 12 < again[2].steps < 100
    assert again[3] == first  # too late for a refusal
