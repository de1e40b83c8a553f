import math

import numpy as np
import pytest

from experiments.study.report.made import LOSS, TIME, drawn, made
from pprs_experiments.study.intervals import Interval
from pprs_experiments.study.report.comparing import contests
from pprs_experiments.study.report.defaults import defaults, within


def cells(*lost, goal=None):
    """A cell for each loss of a default against the best tuned method."""
    random, results = np.random.default_rng(0), []
    for number, each in enumerate(lost):
        easy = drawn(random, 0.5)
        results += [made(f"c/{number}", "pprs-adam", easy), made(f"c/{number}", "pprs", easy - 0.3)]
        spread = drawn(random, 0.0, spread=0.001)
        results.append(made(f"c/{number}", "default-0.1", easy - each + spread))
    return contests(results)


def test_it_counts_the_cells_that_lose_less_than_a_point():
    (found,) = defaults(cells(0.0, 0.005, 0.02, -0.1))
    assert (found.method, found.cells, found.estimated, found.mostly) == ("default-0.1", 4, 3, True)
    assert (found.number("yes"), found.number("no"), found.number("cannot say")) == (3, 1, 0)


def test_a_default_that_loses_more_in_half_of_the_cells_is_none():
    (found,) = defaults(cells(0.0, 0.02))
    assert not found.mostly


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (-0.009, 0.5, "yes"),
        (-0.5, -0.011, "no"),
        (-0.011, 0.0, "cannot say"),
        (-math.inf, math.inf, "cannot say"),
    ],
)
def test_the_interval_may_leave_it_open(low, high, answer):
    assert within(Interval(0.0, low, high)) == answer


def test_only_accuracies_and_cells_with_both_count():
    results = [made("a", "default-1", [0.5, 0.5]), made("b", "pprs", [0.5, 0.5])]
    for goal in (LOSS, TIME):
        results += [made(goal.metric, n, [0.5, 0.5], goal=goal) for n in ("pprs", "default-1")]
    assert defaults(contests(results)) == []
