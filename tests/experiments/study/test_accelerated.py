import math

import numpy as np
import pytest

from pprs.theory import SmoothConvex
from pprs.theory.bounds import lower_smooth_convex
from pprs_experiments.study.accelerated import DEPTHS, accelerated_times


def steps_by_hand(pairs, epsilon):
    """Steps of Nesterov's method with the step 1/β from 0 to ε."""
    function = SmoothConvex(1.0, 1.0, pairs)
    objective = function.chain(1)
    x = y = np.zeros(objective.dimension)
    weight, steps = 0.0, 0
    while objective.value(y) - function.minimum > epsilon:
        after = (1 + math.sqrt(1 + 4 * weight**2)) / 2
        following = x - objective.gradient(x)
        x = following + (weight - 1) / after * (following - y)
        y, weight, steps = following, after, steps + 1
    return steps


def test_the_time_is_proportional_to_the_depth():
    rows = accelerated_times(ratio=1e4)
    assert [row.depth for row in rows] == [*DEPTHS]
    assert {row.steps for row in rows} == {steps_by_hand(pairs=30, epsilon=1e-4)}
    assert [row.time for row in rows] == [rows[0].time * depth for depth in DEPTHS]


def test_it_is_within_a_constant_of_the_lower_bound():
    rows = accelerated_times()
    for depth, time, bound in rows:
        constants = dict(smoothness=1.0, radius=1.0, epsilon=1e-5, depth=depth)
        assert bound == lower_smooth_convex(**constants, printed=True).time
        assert bound < time
    assert [row.ratio for row in rows] == [row.time / row.bound for row in rows]
    assert max(row.ratio for row in rows) < 8.8


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"ratio must be a finite number above 0, got -1\.0"):
        accelerated_times(ratio=-1.0)
    with pytest.raises(ValueError, match="depth must be an integer of at least 1, got 0"):
        accelerated_times((1, 0))
