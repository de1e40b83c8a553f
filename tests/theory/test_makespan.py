import pytest

from pprs.theory import pipeline_time


def ticks(samples, depth):
    """Fill and drain, simulated tick by tick: all forward passes, then all backward passes."""
    time = 0
    for order in (range(depth), reversed(range(depth))):
        position = [0] * samples  # nodes that each pass has been through
        nodes = list(order)
        while min(position) < depth:
            busy = set()
            for k in range(samples):
                if position[k] < depth and nodes[position[k]] not in busy:
                    busy.add(nodes[position[k]])
                    position[k] += 1
            time += 1
    return time


def test_formula_is_the_simulated_time():
    for samples in range(1, 7):
        for depth in range(1, 7):
            assert pipeline_time(samples, depth) == ticks(samples, depth)


def test_numbers_below_one_are_refused():
    with pytest.raises(ValueError, match="got 0 and 3"):
        pipeline_time(0, 3)
