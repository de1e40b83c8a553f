import math

import pytest

from pprs.theory.bounds import exact_coordinates
from pprs.theory.methods import Accelerated
from pprs.theory.worst_case import NonSmooth, SmoothConvex, SmoothNonconvex
from pprs.theory.zero_chain import fastest_growth, growth_of

FUNCTIONS = {
    "(1)": SmoothConvex(smoothness=1.0, radius=1.0, pairs=12),
    "(6)": SmoothNonconvex(smoothness=1.0, gap=25 * 12 * 152.0, epsilon=1.0),
}


def limit(time, depth):
    """Eq. (3), as printed."""
    return math.floor((time - 1) / (depth - 1)) + 1


@pytest.mark.parametrize("depth", [2, 3, 5, 9])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_coordinate_appears_sooner_than_equation_3_allows(function, depth):
    objective, until = FUNCTIONS[function].chain(depth), 10 * depth
    # (6) is flat near 0: a coordinate must pass half a unit of its scale to free the next.
    lr = 0.1 if function == "(1)" else 200.0
    fastest = fastest_growth(objective, until, lr)
    for time, count in zip(fastest.times, fastest.coordinates, strict=True):
        exact = exact_coordinates(time=time, depth=depth)
        assert count <= exact <= limit(time, depth) <= 2 * (time - 1) / depth + 1
    # ... and the bound is nearly reached: two coordinates in 2Δ - 1 units of time.
    assert fastest.coordinates[-1] >= 2 * math.floor(until / (2 * depth - 1)) - 1 >= 9


def test_accelerated_descent_takes_a_whole_pass_for_a_coordinate():
    depth = 4
    growth = growth_of(Accelerated(0.5), FUNCTIONS["(1)"].chain(depth), until=100)
    # The first momentum is -1: the second pass is at the start again, and adds nothing.
    assert growth.times[0] == 2 * depth
    assert growth.coordinates == tuple(range(1, 1 + len(growth.coordinates)))
    assert growth.times[1:] == tuple(2 * depth * (i + 3) for i in range(len(growth.times) - 1))


def test_where_the_halves_are_in_one_node_coordinates_come_twice_as_fast():
    """What (3) rests on is the split: without it, the same function grows faster."""
    whole = growth_of(Accelerated(0.5), FUNCTIONS["(1)"].chain(1), until=20)
    assert whole.coordinates[-1] > limit(20, depth=4)


@pytest.mark.parametrize("depth", [3, 5])
def test_equation_3_counts_the_path_of_function_8_and_not_its_maximum(depth):
    """One node holds the maximum, and finds a coordinate of it in each of its backward passes."""
    function, until = NonSmooth(lipschitz=1.0, radius=1.0, pairs=9, coordinates=9), 10 * depth
    path = fastest_growth(function.chain(depth), until, among=19)
    for time, count in zip(path.times, path.coordinates, strict=True):
        assert count <= exact_coordinates(time=time, depth=depth, last_first=True)
    assert path.coordinates[-1] >= 9
    everything = fastest_growth(function.chain(depth), until)
    over = [
        k > limit(t, depth) for t, k in zip(everything.times, everything.coordinates, strict=True)
    ]
    assert any(over)


def test_a_single_node_or_a_plain_chain_is_refused():
    with pytest.raises(ValueError, match="at least 2 nodes"):
        fastest_growth(FUNCTIONS["(1)"].chain(1), until=5)
    with pytest.raises(ValueError, match="until must be"):
        fastest_growth(FUNCTIONS["(1)"].chain(2), until=0)
