import dataclasses
import heapq
from fractions import Fraction
from typing import Any

import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st

from pprs.theory import Graph, Node, pipeline_time
from pprs.theory.makespan import makespan, timetable

OWN_DEVICES = ("gpipe", "1f1b", "zero-bubble")


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


def height(graph, name):
    return 1 + max((height(graph, child) for child in graph.children[name]), default=0)


def in_turn(forwards, backwards, warmup):
    operations, backwards = forwards[:warmup], list(backwards)
    for forward in forwards[warmup:]:
        operations += [backwards.pop(0), forward]
    return operations + backwards


def with_weights(operations, delay):
    """After each backward, the weight part `delay` backwards late; the rest at the end."""
    result, waiting = [], []
    for kind, name, k in operations:
        result.append((kind, name, k))
        if kind == "B":
            waiting.append(("W", name, k))
            if len(waiting) > delay:
                result.append(waiting.pop(0))
    return result + waiting


def device_orders(graph, samples, schedule, devices=None):
    """What each device does one after the other, written out."""
    if schedule == "interleaved":
        chain, rounds = list(graph.order), range(0, samples, devices)
        chunks = [chain[c : c + devices] for c in range(0, len(chain), devices)]
        orders = []
        for d in range(devices):
            forwards = [
                ("F", chunk[d], k)
                for r in rounds
                for chunk in chunks
                for k in range(r, r + devices)
            ]
            backwards = [
                ("B", chunk[d], k)
                for r in rounds
                for chunk in reversed(chunks)
                for k in range(r, r + devices)
            ]
            warmup = 2 * (devices - 1 - d) + (len(chunks) - 1) * devices + 1
            orders.append(in_turn(forwards, backwards, warmup))
        return orders
    orders = []
    for name in graph.nodes:
        forwards = [("F", name, k) for k in range(samples)]
        backwards = [("B", name, k) for k in range(samples)]
        warmup = samples if schedule == "gpipe" else min(samples, height(graph, name))
        operations = in_turn(forwards, backwards, warmup)
        if schedule == "zero-bubble":
            operations = with_weights(operations, graph.depth - height(graph, name))
        orders.append(operations)
    return orders


def simulate(graph, samples, schedule, devices=None, weight_share=0.5):
    """An event loop: whenever something ends or arrives, idle devices start what they can."""
    queues = device_orders(graph, samples, schedule, devices)
    busy = [False] * len(queues)
    arrived = set()  # (kind, from, to, sample)
    done = []
    events: list[Any] = [(0.0, 0, "start", None)]
    count = 0
    while events:
        now = events[0][0]
        while events and events[0][0] == now:
            _, _, what, about = heapq.heappop(events)
            if what == "arrival":
                arrived.add(about)
            if what == "end":
                device, kind, name, k = about
                busy[device] = False
                targets = {"F": graph.children, "B": graph.parents}.get(kind, {name: ()})[name]
                for other in targets:
                    edge = (name, other) if kind == "F" else (other, name)
                    when = now + graph.edges[edge]
                    count += 1
                    heapq.heappush(events, (when, count, "arrival", (kind, name, other, k)))
        for device, queue in enumerate(queues):
            if busy[device] or not queue:
                continue
            kind, name, k = queue[0]
            sources = {"F": graph.parents, "B": graph.children}.get(kind, {name: ()})[name]
            if all((kind, other, name, k) in arrived for other in sources):
                queue.pop(0)
                busy[device] = True
                share = weight_share if schedule == "zero-bubble" else 0.0
                whole = graph.nodes[name].backward
                weight = whole * share
                cost = {"F": graph.nodes[name].forward, "B": whole - weight, "W": weight}[kind]
                done.append((name, kind, k, now, now + cost))
                count += 1
                heapq.heappush(events, (now + cost, count, "end", (device, kind, name, k)))
    assert not any(queues)
    return done


times = st.one_of(st.integers(0, 4).map(float), st.floats(0, 10, allow_subnormal=False))


@st.composite
def graphs(draw, most=6):
    names = [f"n{i}" for i in range(draw(st.integers(1, most)))]
    edges = {}
    for i, name in enumerate(names[1:], start=1):
        for parent in draw(st.sets(st.sampled_from(names[:i]), min_size=1)):
            edges[parent, name] = draw(times)
    return Graph({name: Node(draw(times), draw(times)) for name in names}, edges)


@st.composite
def interleavings(draw):
    devices = draw(st.integers(1, 3))
    depth = devices * draw(st.integers(1, 6 // devices))
    samples = devices * draw(st.integers(1, 6 // devices))
    costs = [draw(st.lists(times, min_size=depth, max_size=depth)) for _ in range(3)]
    return Graph.chain(depth, costs[0], costs[1], costs[2][1:]), samples, devices


@st.composite
def cases(draw):
    schedule = draw(st.sampled_from([*OWN_DEVICES, "interleaved"]))
    if schedule == "interleaved":
        graph, samples, devices = draw(interleavings())
        return graph, samples, schedule, dict(devices=devices)
    share = draw(st.floats(0, 1))
    return draw(graphs()), draw(st.integers(1, 6)), schedule, dict(weight_share=share)


def test_formula_is_the_simulated_time():
    for samples in range(1, 7):
        for depth in range(1, 7):
            assert pipeline_time(samples, depth) == ticks(samples, depth)


def test_numbers_below_one_are_refused():
    with pytest.raises(ValueError, match="got 0 and 3"):
        pipeline_time(0, 3)


@pytest.mark.slow
@tries(400)
@given(cases())
def test_times_are_those_of_an_event_loop(case):
    graph, samples, schedule, options = case
    expected = simulate(graph, samples, schedule, **options)
    found = timetable(graph, samples, schedule, **options)
    assert sorted(map(dataclasses.astuple, found)) == sorted(expected)
    assert makespan(graph, samples, schedule, **options) == max(end for *_, end in expected)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_chains_of_unit_times_take_the_pipeline_time(schedule):
    for depth in range(1, 9):
        for samples in range(1, 9):
            assert makespan(Graph.chain(depth), samples, schedule) == pipeline_time(samples, depth)


def test_zero_bubble_leaves_a_third_of_the_bubble_once_there_are_as_many_samples_as_nodes():
    for depth in range(1, 9):
        graph = Graph.chain(depth, forward=1, backward=2)
        for samples in range(1, depth + 6):
            busy, few = 3 * samples, max(0, depth - samples)
            assert makespan(graph, samples, "1f1b") == busy + 3 * (depth - 1)
            assert makespan(graph, samples, "zero-bubble") == busy + depth - 1 + few


@given(graphs(), st.integers(1, 6))
def test_zero_bubble_without_weight_parts_is_1f1b(graph, samples):
    split = makespan(graph, samples, "zero-bubble", weight_share=0)
    assert split == makespan(graph, samples, "1f1b")


def test_interleaving_divides_the_bubble_by_the_number_of_chunks():
    for devices in range(1, 5):
        for chunks in range(1, 5):
            for samples in range(devices, 4 * devices + 1, devices):
                fine = Graph.chain(devices * chunks)
                coarse = Graph.chain(devices, forward=chunks, backward=chunks)
                busy = 2 * chunks * samples
                bubble = makespan(coarse, samples, "1f1b") - busy
                assert bubble == 2 * chunks * (devices - 1)
                found = makespan(fine, samples, "interleaved", devices=devices)
                assert found == busy + bubble / chunks


@given(cases(), st.data())
def test_no_time_can_grow_and_shorten_the_whole(case, data):
    graph, samples, schedule, options = case
    nodes, edges = dict(graph.nodes), dict(graph.edges)
    name, more = data.draw(st.sampled_from(sorted(nodes))), data.draw(times)
    which = data.draw(st.sampled_from(["forward", "latency", "backward"]))
    if which == "latency":
        edges = {edge: time + more * (name in edge) for edge, time in edges.items()}
    else:
        nodes[name] = dataclasses.replace(
            nodes[name], **{which: getattr(nodes[name], which) + more}
        )
    before, after = (
        makespan(g, samples, schedule, **options) for g in (graph, Graph(nodes, edges))
    )
    assert after >= before * (1 - 1e-12)  # the parts of a split backward are rounded


def one_pass(graph):
    """The longest way down to a leaf and back up to the root, by the definition."""

    def down(name):
        arrivals = [down(p) + graph.edges[p, name] for p in graph.parents[name]]
        return max(arrivals, default=0.0) + graph.nodes[name].forward

    def up(name, leaf):
        if name == leaf:
            return graph.nodes[name].backward
        ways = [up(child, leaf) + graph.edges[name, child] for child in graph.children[name]]
        return max(ways, default=-float("inf")) + graph.nodes[name].backward

    return max(down(leaf) + up(graph.root, leaf) for leaf in graph.leaves)


@given(cases())
def test_it_is_at_least_the_work_of_a_device_and_the_time_of_one_pass(case):
    graph, samples, schedule, options = case
    work = [Fraction(node.forward) + Fraction(node.backward) for node in graph.nodes.values()]
    if schedule == "interleaved":
        work = [sum(work[d :: options["devices"]]) for d in range(options["devices"])]
    found = makespan(graph, samples, schedule, **options)
    assert found >= float(samples * max(work)) * (1 - 1e-12)
    waited_for = 1 - options.get("weight_share", 0.0) * (schedule == "zero-bubble")
    nodes = {n: Node(node.forward, node.backward * waited_for) for n, node in graph.nodes.items()}
    assert found >= one_pass(Graph(nodes, graph.edges)) * (1 - 1e-12)


@given(graphs())
def test_one_sample_takes_one_pass(graph):
    for schedule in ("gpipe", "1f1b"):
        assert makespan(graph, 1, schedule) == pytest.approx(one_pass(graph), rel=1e-12)


@given(cases())
def test_twice_all_times_take_twice_as_long(case):
    graph, samples, schedule, options = case
    nodes = {n: Node(2 * node.forward, 2 * node.backward) for n, node in graph.nodes.items()}
    twice = Graph(nodes, {edge: 2 * time for edge, time in graph.edges.items()})
    found = makespan(twice, samples, schedule, **options)
    assert found == pytest.approx(2 * makespan(graph, samples, schedule, **options), rel=1e-12)


@given(cases())
def test_timetables_wait_and_do_one_thing_at_a_time(case):
    graph, samples, schedule, options = case
    operations = timetable(graph, samples, schedule, **options)
    at = {(o.node, o.kind, o.sample): o for o in operations}
    kinds = "FBW" if schedule == "zero-bubble" else "FB"
    assert set(at) == {(n, kind, k) for n in graph.nodes for kind in kinds for k in range(samples)}
    for (tail, head), latency in graph.edges.items():
        for k in range(samples):
            assert at[head, "F", k].start >= at[tail, "F", k].end + latency
            assert at[tail, "B", k].start >= at[head, "B", k].end + latency
    for name in graph.nodes:
        for k in range(samples):
            assert at[name, "B", k].start >= at[name, "F", k].end
            if "W" in kinds:
                assert at[name, "W", k].start >= at[name, "B", k].end
    place = {
        name: i % options.get("devices", len(graph.nodes)) for i, name in enumerate(graph.nodes)
    }
    free = dict.fromkeys(place.values(), 0.0)
    for o in operations:  # by start
        assert o.start >= free[place[o.node]]
        free[place[o.node]] = o.end


def test_large_pipelines_are_timed():
    assert makespan(Graph.chain(1024), 10_000, "1f1b") == pipeline_time(10_000, 1024)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(samples=0), "samples must be an integer of at least 1, got 0"),
        (dict(samples=2.0), "samples must be an integer of at least 1, got 2.0"),
        (dict(schedule="dualpipe"), "schedule must be one of gpipe, .*; got 'dualpipe'"),
        (dict(schedule="zero-bubble", weight_share=1.5), "weight_share must be .* got 1.5"),
        (dict(schedule="zero-bubble", weight_share=float("nan")), "weight_share .* got nan"),
        (dict(schedule="1f1b", devices=2), "devices is for the interleaved schedule.* got 2"),
        (dict(schedule="interleaved"), "devices must be given"),
        (dict(schedule="interleaved", devices=0), "devices must be an integer .* got 0"),
        (dict(schedule="interleaved", devices=3), "depth must be a multiple of devices=3.* got 4"),
        (dict(schedule="interleaved", devices=4), "samples must be a multiple .*4.* got 6"),
    ],
)
@pytest.mark.parametrize("function", [makespan, timetable])
def test_wrong_arguments_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(Graph.chain(4), **{"samples": 6, **arguments})


def test_only_chains_are_interleaved():
    edges = dict.fromkeys([("a", "b"), ("b", "c"), ("a", "c")], 0.0)
    graph = Graph(dict.fromkeys("abc", Node()), edges)
    with pytest.raises(ValueError, match="needs a chain, got a graph of 3 nodes, 3 edges"):
        makespan(graph, 3, "interleaved", devices=3)


def test_times_beyond_floating_point_are_refused():
    for function in (makespan, timetable):
        with pytest.raises(ValueError, match="exceeds the largest floating-point number"):
            function(Graph.chain(2, forward=1e308), 9)
