import numpy as np
import pytest
from theory.problems import deviations

from pprs.theory import methods, run
from pprs.theory.clock import Clock
from pprs.theory.machine import Machine
from pprs.theory.replicas import data_parallel, on_chain


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_data_parallelism_divides_the_examples(replicas):
    """It is pipeline parallelism on the graph of the copies."""
    depth, examples, latency = 3, 5, 0.25
    plain = deviations(depth, examples)
    parallel = data_parallel(plain, replicas, latency)
    assert parallel.graph.depth == depth + 1
    single = run(methods.GPipe(0.1), Machine(plain), 3)
    copies = run(methods.GPipe(0.1), Machine(parallel), 3)
    np.testing.assert_allclose(copies.values, single.values)
    share = -(-examples // replicas)
    assert copies.times[0] == 2 * (share + depth - 1) + 2 * latency
    fast = run(methods.GPipe(0.1), Clock(parallel), 3)
    np.testing.assert_allclose(fast.times, copies.times)


def test_smoothing_over_data_parallel_copies_is_distributed_randomized_smoothing():
    """DRS: every copy smooths its own examples at the same perturbations."""
    method = methods.PPRS(0.1, sigma=0.1, samples=4)
    plain = deviations(2, examples=6)
    single = run(method, Machine(plain, seed=1), 3)
    copies = run(method, Machine(data_parallel(plain, 3), seed=1), 3)
    np.testing.assert_allclose(copies.values, single.values)
    assert copies.times[0] == 2 * (4 * 6 // 3 + 2 - 1)
    assert single.times[0] == 2 * (4 * 6 + 2 - 1)


@pytest.mark.parametrize("replicas", [0, 3])
def test_as_many_copies_as_examples_at_most(replicas):
    with pytest.raises(ValueError, match=f"got {replicas}"):
        data_parallel(deviations(2, examples=2), replicas)


def test_functions_that_do_not_keep_points_apart_are_refused():
    objective = on_chain(lambda x, j: np.linalg.norm(x), lambda x, j: x, 3)
    assert objective.value(np.ones(3)) == pytest.approx(3**0.5)
    with pytest.raises(ValueError, match=r"value must have shape \(2,\) .* got shape \(\)"):
        objective.value(np.ones((2, 3)))
    objective = on_chain(lambda x, j: x[..., 0], lambda x, j: x[..., :1], 3)
    with pytest.raises(ValueError, match=r"gradient must have shape \(2, 3\) .* shape \(2, 1\)"):
        objective.gradient(np.ones((2, 3)))


def test_a_function_multiplies_the_gradient_that_arrives():
    whole = on_chain(lambda x, j: x[..., 0], lambda x, j: 2 * x, 3).components["f1"]
    (found,) = whole.backward(np.array([3.0]), np.ones(3), example=0)
    np.testing.assert_array_equal(found, [6, 6, 6])


def test_copies_are_not_copied_again():
    with pytest.raises(ValueError, match="has copies already"):
        data_parallel(data_parallel(deviations(1, examples=4), 2), 2)
