"""How the worst-case functions become chains, and what each end of a chain can find."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from pprs.theory.worst_case import NonSmooth, SmoothConvex, SmoothNonconvex

PAIRS = 4
CHAIN = 2 * PAIRS + 1
FUNCTIONS = [
    SmoothConvex(2.0, 1.5, PAIRS, dimension=CHAIN + 2),
    SmoothNonconvex(152.0, 12 * (CHAIN + 1), 1.0),
    NonSmooth(2.0, 1.5, PAIRS, 5),
]
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f).__name__)


def known(function, found, seed=0):
    """Points at which only the first coordinates of the path are known."""
    theta = np.random.default_rng(seed).uniform(1, 3, size=(50, function.dimension))
    theta *= np.random.default_rng(seed + 1).choice([-1, 1], size=theta.shape)
    theta[:, found:] = 0
    return theta


def backward(function, node, theta):
    """What a backward pass of one end adds to a gradient that knows nothing else."""
    total = np.zeros((*theta.shape[:-1], 1))
    if node == "f1":
        empty = np.concatenate([np.zeros_like(theta), total + 1], axis=-1)
        return function.chain(2).components["f1"].backward(empty, theta, example=0)[0]
    carried = np.concatenate([theta, total], axis=-1)
    arrived = function.chain(2).components["f2"].backward(total + 1, carried, example=0)[0]
    assert np.all(arrived[..., -1] == 1)
    return arrived[..., :-1]


@each_function
@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_chain_is_the_function_at_every_depth_and_shape(function, depth, shape):
    chain = function.chain(depth)
    assert (chain.graph.depth, chain.dimension) == (depth, function.dimension)
    theta = np.random.default_rng(1).normal(size=(*shape, function.dimension))
    assert chain.value(theta).shape == shape
    np.testing.assert_allclose(chain.value(theta), function.value(theta), rtol=1e-12)
    np.testing.assert_allclose(chain.gradient(theta), function.gradient(theta), rtol=1e-12)


@each_function
def test_several_points_at_once_are_each_point_alone(function):
    theta = np.random.default_rng(2).normal(size=(4, function.dimension))
    np.testing.assert_allclose(function.value(theta), [function.value(row) for row in theta])
    rows = [function.gradient(row) for row in theta]
    np.testing.assert_allclose(function.gradient(theta), rows)


@each_function
def test_the_first_node_hands_on_its_half_and_those_between_hand_on_all(function):
    theta = np.random.default_rng(3).normal(size=(2, function.dimension))
    components = function.chain(3).components
    first = components["f1"].forward(theta, example=0)
    assert first.shape == (2, function.dimension + 1)
    np.testing.assert_array_equal(first[:, :-1], theta)
    np.testing.assert_array_equal(components["f2"].forward(first, example=0), first)
    last = components["f3"].forward(first, example=0)
    assert last.shape == (2, 1)
    np.testing.assert_allclose(last[:, 0], function.value(theta), rtol=1e-12)
    assert np.all(np.abs(last[:, 0] - first[:, -1]) > 1e-6)


@each_function
@pytest.mark.parametrize("depth", [1, 3])
def test_the_backward_of_each_node_is_the_transposed_jacobian_of_its_forward(function, depth):
    rng = np.random.default_rng(6)
    carried = rng.normal(size=(1, function.dimension))
    for component in function.chain(depth).components.values():
        arrived = rng.normal(size=component.forward(carried, example=0).shape)

        def product(x, component=component, arrived=arrived):
            return float(np.sum(arrived * component.forward(x[None], example=0)))

        (sent,) = component.backward(arrived, carried, example=0)
        np.testing.assert_allclose(sent[0], approx_fprime(carried[0], product, 1e-7), atol=1e-5)
        carried = component.forward(carried, example=0)


@each_function
def test_the_two_ends_add_up_to_the_gradient(function):
    theta = np.random.default_rng(4).normal(size=(20, function.dimension))
    both = backward(function, "f1", theta) + backward(function, "f2", theta)
    np.testing.assert_allclose(both, function.gradient(theta), rtol=1e-12)
    assert np.all(np.any(backward(function, "f2", theta) != 0, axis=-1))


@each_function
@pytest.mark.parametrize("found", range(CHAIN))
def test_only_one_end_finds_the_next_coordinate_and_no_end_finds_more(function, found):
    odd_coordinates_from = {SmoothConvex: "f1", SmoothNonconvex: "f1", NonSmooth: "f2"}
    odd = odd_coordinates_from[type(function)]
    even = "f2" if odd == "f1" else "f1"
    finder, other = (odd, even) if (found + 1) % 2 else (even, odd)
    theta = known(function, found)
    assert np.all(backward(function, finder, theta)[:, found] != 0)
    assert np.all(backward(function, finder, theta)[:, found + 1 : CHAIN] == 0)
    assert np.all(backward(function, other, theta)[:, found:CHAIN] == 0)


@pytest.mark.parametrize("found", range(5))
def test_of_the_coordinates_in_the_maximum_the_first_node_finds_one_at_a_time(found):
    function = FUNCTIONS[2]
    theta = np.zeros((50, function.dimension))
    theta[:, CHAIN : CHAIN + found] = -np.random.default_rng(5).uniform(1, 2, size=(50, found))
    assert np.all(backward(function, "f1", theta)[:, CHAIN + found] != 0)
    assert np.all(backward(function, "f1", theta)[:, CHAIN + found + 1 :] == 0)
    assert np.all(backward(function, "f2", theta)[:, CHAIN + found :] == 0)


@each_function
def test_one_end_alone_finds_one_coordinate_however_often_it_is_asked(function):
    for node in ("f1", "f2"):
        theta = np.zeros((1, function.dimension))
        for _ in range(10):
            theta = theta - 3 * backward(function, node, theta)
        assert np.count_nonzero(theta[:, :CHAIN]) <= 1


@each_function
def test_points_of_another_dimension_are_named(function):
    with pytest.raises(ValueError, match=r"theta must have shape \(\.\.\., \d+\), got \(2, 3\)"):
        function.value(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"theta must have shape .* got \(\)"):
        function.gradient(np.float64(0))


@each_function
@pytest.mark.parametrize("depth", [0, -1, 1.5])
def test_a_wrong_depth_is_named(function, depth):
    with pytest.raises(ValueError, match=f"depth must be an integer of at least 1, got {depth}"):
        function.chain(depth)
