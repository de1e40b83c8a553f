import numpy as np
import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from theory.problems import deviations, diamond

from pprs.theory import Procedure, methods, run
from pprs.theory.adam import Adam
from pprs.theory.clock import Clock
from pprs.theory.graph import Graph, Node
from pprs.theory.machine import Machine
from pprs.theory.measured import MeasuredPPRS
from pprs.theory.objective import Identity, Objective
from pprs.theory.vector import ModelError, Vector

EVERY: list[Procedure] = [
    methods.GradientDescent(0.1),
    methods.SubgradientDescent(0.1),
    methods.GPipe(0.1),
    methods.Sequential(0.1),
    methods.Accelerated(0.1),
    methods.Accelerated(0.1, momentum=0.9),
    methods.PPRS(0.1, sigma=0.2, samples=3),
    methods.PPRS(0.1, sigma=0.2, samples=2, noise="example"),
    methods.RandomizedSmoothing(lipschitz=2.0, radius=1.0, samples=3),
    methods.PipeDream(0.1),
    Adam(0.1),
    MeasuredPPRS(3, epsilon=0.1),
]


def named(method):
    return f"{method.name}, {getattr(method, 'momentum', '')}, {getattr(method, 'noise', '')}"


@pytest.mark.parametrize("examples", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("method", EVERY, ids=named)
def test_the_clock_says_what_the_machine_does(method, depth, examples):
    """Same points, same times; the clock computes all perturbations on one node at once."""
    slow = run(method, Machine(deviations(depth, examples), seed=3), 6)
    clock = Clock(deviations(1, examples), Graph.chain(depth), seed=3)
    fast = run(method, clock, 6)
    np.testing.assert_array_equal(slow.times, fast.times)
    np.testing.assert_allclose(slow.values, fast.values, rtol=1e-12)
    np.testing.assert_allclose(slow.last, fast.last, rtol=1e-12)


@tries(40)
@given(st.data())
def test_the_clock_counts_unequal_costs_and_latencies(data):
    depth, examples = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    times = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]), min_size=depth, max_size=depth)
    costs = dict(forward=data.draw(times), backward=data.draw(times))
    costs["latency"] = data.draw(times)[: depth - 1]
    plain = deviations(depth, examples)
    objective = Objective(Graph.chain(depth, **costs), plain.components, plain.dimension, examples)
    for method in (methods.GPipe(0.1), methods.PPRS(0.1, sigma=0.1, samples=4)):
        slow = run(method, Machine(objective), 3)
        np.testing.assert_allclose(slow.times, run(method, Clock(objective), 3).times)


def test_the_clock_refuses_passes_that_could_meet():
    method = methods.PipeDream(0.1, period=1.0)
    with pytest.raises(ModelError, match="could meet"):
        run(method, Clock(deviations(3)), 4)
    unequal = Graph.chain(3, forward=[1, 2, 1])
    with pytest.raises(ModelError, match="could meet"):
        run(methods.PipeDream(0.1, period=3.0), Clock(deviations(1), unequal), 4)


def test_a_single_pass_may_not_overlap_several_that_came_before():
    clock = Clock(deviations(1))
    clock.gradients([clock.start] * 5)
    with pytest.raises(ModelError, match="could meet"):
        clock.gradients([clock.start], at=2.0)


@pytest.mark.parametrize("at", [0.0, 2.0, 3.0, 6.0])
def test_only_single_passes_whole_periods_apart_may_overlap(at):
    clock = Clock(deviations(4), start=np.ones(4))
    clock.gradients([clock.start])
    if at in (2.0, 6.0):
        assert clock.gradients([clock.start], at=at)[0].ready == at + 8
    else:
        with pytest.raises(ModelError, match="could meet"):
            clock.gradients([clock.start], at=at)


@pytest.mark.parametrize(
    ("objective", "graph", "passes"),
    [
        (deviations(3), None, 2),
        (diamond(), None, 1),
        (deviations(1), Graph.chain(3, latency=1.0), 1),
    ],
    ids=["several passes", "no chain", "latencies"],
)
def test_what_could_meet_at_a_whole_period_is_refused(objective, graph, passes):
    clock = Clock(objective, graph)
    clock.gradients([clock.start])
    with pytest.raises(ModelError, match="could meet"):
        clock.gradients([clock.start] * passes, at=2.0)


def test_steps_of_one_clock_may_differ_in_their_passes():
    clock = Clock(deviations(3))
    for passes, end in [(1, 6), (4, 18), (2, 26)]:
        clock.gradients([clock.start] * passes, at=clock.time)
        assert clock.time == end


def unequal(root=Node(0, 0)):  # noqa: B008
    """Example 0 goes through a quick branch, example 1 through a slow one."""
    plain = deviations(1, 2)
    nodes = {"root": root, "quick": Node(1, 1), "slow": Node(3, 4)}
    edges = {("root", "quick"): 0.5, ("root", "slow"): 0.25}
    parts = dict.fromkeys(("quick", "slow"), plain.components["f1"])
    branches = (frozenset({"root", "quick"}), frozenset({"root", "slow"}))
    return Objective(Graph(nodes, edges), {"root": Identity(), **parts}, 4, 2, branches)


@pytest.mark.parametrize("examples", [[0], [1], [0, 1], [1, 1, 0]])
def test_each_branch_takes_its_own_time(examples):
    times = []
    for oracle in (Machine(unequal()), Clock(unequal())):
        for _ in range(2):
            points = [Vector(oracle.start.value, "root", oracle.time)]
            oracle.gradients(points, [0])
            points = [Vector(oracle.start.value, "root", oracle.time)] * len(examples)
            oracle.gradients(points, examples)
        times.append(oracle.time)
    assert times[0] == times[1]


def test_what_the_clock_cannot_time_is_refused():
    costly = Clock(unequal(Node(0, 1)))
    with pytest.raises(ValueError, match="root that branches share must cost nothing"):
        costly.gradients([costly.start])
    with pytest.raises(ValueError, match="graph must be left out"):
        Clock(unequal(), Graph.chain(2))


@pytest.mark.parametrize("oracle", [Clock, Machine])
@pytest.mark.parametrize("method", [m for m in EVERY if not m.random], ids=named)
def test_several_starts_go_as_each_does_alone(method, oracle):
    starts = np.random.default_rng(0).standard_normal((3, 4))
    together = method.iterates(oracle(deviations(2, examples=2), start=starts))
    alone = [method.iterates(oracle(deviations(2, examples=2), start=start)) for start in starts]
    for _ in range(5):
        point, points = next(together), [next(each) for each in alone]
        np.testing.assert_allclose(point.value, [each.value for each in points], rtol=1e-12)
        assert {point.ready} == {each.ready for each in points}
