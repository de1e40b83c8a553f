import numpy as np
import pytest
from theory.problems import deviations

from pprs.theory.clock import Clock
from pprs.theory.machine import Machine
from pprs.theory.replicas import on_chain
from pprs.theory.vector import Vector


def test_random_vectors_are_keyed_by_the_seed():
    first, second = (Machine(deviations(), seed=s) for s in (1, 2))
    again = Machine(deviations(), seed=1)

    def drawn(machine):
        return np.stack([p.value for p in machine.perturbed(machine.start, 2.0, 3)])

    once = drawn(first)
    np.testing.assert_array_equal(once, drawn(again))
    assert not np.array_equal(once, drawn(second))
    assert not np.array_equal(once, drawn(first))
    many = Machine(deviations(), seed=3)
    points = np.stack([p.value for p in many.perturbed(many.start, 2.0, 2000)])
    # 8,000 normals: the standard error of their deviation is 0.8 %; false alarms below 1e-8
    assert points.std() == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("oracle", [Machine, Clock])
def test_perturbations_surround_a_point_and_are_there_when_it_is(oracle):
    point = Vector(np.full(4, 7.0), "f1", 3.0)
    points = oracle(deviations(), seed=5).perturbed(point, 0.5, 6)
    drawn = np.random.default_rng(5).standard_normal((6, 4))
    np.testing.assert_array_equal([p.value for p in points], 7 + 0.5 * drawn)
    assert {(p.node, p.ready) for p in points} == {("f1", 3.0)}


def test_a_start_of_the_wrong_shape_is_refused():
    objective = on_chain(lambda x, j: x[..., 0], lambda x, j: x, 2)
    with pytest.raises(ValueError, match=r"shape \(2,\), got shape \(3,\)"):
        Machine(objective, start=np.zeros(3))
