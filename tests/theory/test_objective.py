import numpy as np
import pytest
from scipy.optimize import approx_fprime
from theory.problems import deviations, diamond

from pprs.theory.graph import Graph
from pprs.theory.objective import Identity, Objective


@pytest.mark.parametrize("example", [0, 1])
def test_the_gradient_on_a_graph_is_that_of_finite_differences(example):
    objective = diamond(examples=2)
    theta = np.array([0.3, -1.0, 0.7])
    step = 1e-6

    def one(x):
        return float(objective._value(x, example))

    found = objective.gradient(theta, example)
    np.testing.assert_allclose(found, approx_fprime(theta, one, step), rtol=1e-4)


def test_leading_dimensions_are_separate_points_and_examples_are_averaged():
    objective = diamond(examples=2)
    points = np.random.default_rng(1).normal(size=(5, 2, 3))
    assert objective.value(points).shape == (5, 2)
    np.testing.assert_allclose(objective.value(points)[3, 1], objective.value(points[3, 1]))
    np.testing.assert_allclose(objective.gradient(points)[4, 0], objective.gradient(points[4, 0]))
    both = [objective.gradient(points, example) for example in (0, 1)]
    np.testing.assert_allclose(objective.gradient(points), np.mean(both, axis=0))
    single = [objective._value(points, example) for example in (0, 1)]
    np.testing.assert_allclose(objective.value(points), np.mean(single, axis=0))


def test_a_chain_of_any_depth_is_the_same_function():
    x = np.random.default_rng(0).normal(size=4)
    for depth in (2, 5):
        assert deviations(depth).value(x) == deviations(1).value(x)
        np.testing.assert_array_equal(deviations(depth).gradient(x), deviations(1).gradient(x))


def test_functions_without_a_node_and_branches_without_a_root_are_refused():
    with pytest.raises(ValueError, match=r"differ in \['f2'\]"):
        Objective(Graph.chain(2), {"f1": Identity()}, 1)
    parts = {"f1": Identity(), "f2": Identity()}
    with pytest.raises(ValueError, match="must hold the root"):
        Objective(Graph.chain(2), parts, 1, branches=(frozenset({"f2"}),))
    three = {name: Identity() for name in ("f1", "f2", "f3")}
    with pytest.raises(ValueError, match="and all parents"):
        Objective(Graph.chain(3), three, 1, branches=(frozenset({"f1", "f3"}),))
    with pytest.raises(ValueError, match="dimension must be an integer of at least 1, got 0"):
        Objective(Graph.chain(2), parts, 0)
