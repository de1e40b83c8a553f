import itertools

import numpy as np
import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from theory.problems import deviations, diamond

from pprs.theory.graph import Graph
from pprs.theory.machine import Machine
from pprs.theory.objective import Objective
from pprs.theory.vector import ModelError, Vector


def costly(objective, **costs):
    """The same on a chain with other costs."""
    graph = Graph.chain(objective.graph.depth, **costs)
    return Objective(graph, objective.components, objective.dimension, objective.examples)


@pytest.mark.parametrize("depth", range(1, 9))
def test_k_passes_over_a_unit_chain_take_the_time_of_the_formula(depth):
    for samples in range(1, 9):
        machine = Machine(deviations(depth))
        gradients = machine.gradients([machine.start] * samples)
        assert machine.time == 2 * (samples + depth - 1)
        assert max(g.ready for g in gradients) == machine.time


def test_gradients_are_those_of_the_objective():
    objective = diamond(examples=2)
    machine = Machine(objective, start=np.array([0.5, 1.0, -2.0]))
    found = machine.gradients([machine.start, 2.0 * machine.start], [0, 1])
    np.testing.assert_allclose(found[0].value, objective.gradient(machine.start.value, 0))
    np.testing.assert_allclose(found[1].value, objective.gradient(2 * machine.start.value, 1))
    assert all(g.node == "a" for g in found)


def test_a_step_that_uses_what_a_node_does_not_hold_is_refused():
    machine = Machine(deviations(3))
    output = machine.forward("f1", machine.start)
    with pytest.raises(ModelError, match="'f2' cannot use a vector that only 'f1' holds"):
        machine.forward("f2", output)
    with pytest.raises(ModelError, match="'f1' cannot send to 'f3': they are no neighbours"):
        machine.send(output, "f3")
    sent = machine.send(output, "f2")
    with pytest.raises(ModelError, match="'f1' cannot add a vector that 'f2' holds"):
        output + sent


def test_information_travels_by_passes_only():
    """Nodes cannot relay what they were sent: else no bound on the time over a chain would hold."""
    machine = Machine(deviations(3))
    output = machine.forward("f1", machine.start)
    sent = machine.send(output, "f2")
    own = machine.forward("f2", sent)
    for relayed in (sent, sent + own, own + sent, machine.start):
        with pytest.raises(ModelError, match="what its own forward passes gave"):
            machine.send(relayed, "f3" if relayed.node == "f2" else "f2")
    passed = machine.forward("f2", sent)
    machine.send(0.5 * passed + passed, "f3")  # sums of what it made itself are its own
    with pytest.raises(ModelError, match="parents what its backward passes gave"):
        machine.send(passed, "f1")


def test_wrong_nodes_and_numbers_of_inputs_are_named():
    machine = Machine(deviations(2))
    with pytest.raises(ModelError, match="there is no node 'f9': choose from f1, f2"):
        machine.forward("f9", machine.start)
    with pytest.raises(ModelError, match="'f1' takes 1 inputs, got 2"):
        machine.forward("f1", machine.start, machine.start)


def test_a_step_before_its_vectors_arrive_or_while_its_node_is_busy_is_refused():
    machine = Machine(costly(deviations(2), forward=2, latency=3))
    arrived = machine.send(machine.forward("f1", machine.start), "f2")
    assert arrived.ready == 5
    with pytest.raises(ModelError, match="'f2' cannot start a forward pass at time 4: .* time 5"):
        machine.forward("f2", arrived, at=4)
    machine.forward("f2", arrived, at=6)
    with pytest.raises(ModelError, match="at time 7: it is busy"):
        machine.forward("f2", arrived, at=7)
    assert machine.forward("f2", arrived).ready == 10  # there is no gap of 2 before
    assert machine.time == 10


def test_a_gap_is_used_if_it_is_long_enough():
    machine = Machine(deviations(1))
    for at in (3, 5):
        machine.forward("f1", machine.start, at=at)
    ends = [machine.forward("f1", machine.start).ready for _ in range(5)]
    assert ends == [1, 2, 3, 5, 7]


@tries(30)
@given(st.data())
def test_no_node_does_two_things_at_once_and_costs_are_paid(data):
    depth = data.draw(st.integers(1, 4))
    times = st.lists(st.integers(0, 3), min_size=depth, max_size=depth)
    costs = dict(forward=data.draw(times), backward=data.draw(times))
    costs["latency"] = data.draw(times)[: depth - 1]
    machine = Machine(costly(deviations(depth), **costs))
    for _ in range(data.draw(st.integers(1, 3))):
        machine.gradients([machine.start] * data.draw(st.integers(1, 3)))
    for node, cost in machine.graph.nodes.items():
        own = sorted((o.start, o.end, o.kind) for o in machine.passes if o.node == node)
        assert all(o[1] - o[0] == getattr(cost, o[2]) for o in own)
        busy = [o for o in own if o[0] < o[1]]
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(busy))


@pytest.mark.parametrize("starts", [(0.0, 0.0, 0.0), (20.0, 0.0, 3.0)])
def test_a_node_goes_back_once_it_has_been_forward_with_all(starts):
    machine = Machine(costly(deviations(2), forward=[3, 1]))
    points = [Vector(machine.start.value, "f1", start) for start in starts]
    machine.gradients(points)
    for node in ("f1", "f2"):
        forward = [p.end for p in machine.passes if (p.node, p.kind) == (node, "forward")]
        backward = [p.start for p in machine.passes if (p.node, p.kind) == (node, "backward")]
        assert max(forward) <= min(backward)


def test_gradients_wait_for_their_time():
    machine = Machine(deviations(2))
    machine.gradients([machine.start], at=5.0)
    assert [p.start for p in machine.passes] == [5, 6, 7, 8]


def test_a_backward_pass_needs_its_inputs_as_well_as_its_gradient():
    machine = Machine(deviations(2))
    output = machine.forward("f1", machine.start)
    gradient = Vector(np.ones(1), "f2", 0.0)
    with pytest.raises(ModelError, match="'f2' cannot use a vector that only 'f1' holds"):
        machine.backward("f2", gradient, output)
