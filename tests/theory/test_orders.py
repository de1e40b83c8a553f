import pytest

from pprs.theory import Graph, Node
from pprs.theory.makespan import timetable


def sequence(name, operations):
    """What a node does one after the other, as a string."""
    return " ".join(f"{o.kind}{o.sample}" for o in operations if o.node == name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f1", "F0 F1 F2 B0 F3 B1 F4 B2 B3 B4"),
        ("f2", "F0 F1 B0 F2 B1 F3 B2 F4 B3 B4"),
        ("f3", "F0 B0 F1 B1 F2 B2 F3 B3 F4 B4"),
    ],
)
def test_1f1b_warms_up_by_the_height_of_a_node(name, expected):
    assert sequence(name, timetable(Graph.chain(3), 5, "1f1b")) == expected


def test_1f1b_on_a_graph_takes_the_longest_path_to_a_leaf():
    edges = dict.fromkeys([("a", "b"), ("b", "c"), ("a", "d")], 0.0)
    operations = timetable(Graph(dict.fromkeys("abcd", Node()), edges), 4, "1f1b")
    assert sequence("a", operations) == "F0 F1 F2 B0 F3 B1 B2 B3"
    assert sequence("d", operations) == "F0 B0 F1 B1 F2 B2 F3 B3"


def test_gpipe_does_all_forwards_first():
    operations = timetable(Graph.chain(2), 3, "gpipe")
    for name in ("f1", "f2"):
        assert sequence(name, operations) == "F0 F1 F2 B0 B1 B2"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f1", "F0 F1 F2 B0 W0 F3 B1 W1 B2 W2 B3 W3"),
        ("f2", "F0 F1 B0 F2 B1 W0 F3 B2 W1 B3 W2 W3"),
        ("f3", "F0 B0 F1 B1 F2 B2 W0 F3 B3 W1 W2 W3"),
    ],
)
def test_zero_bubble_delays_weight_parts_by_the_place_below_the_root(name, expected):
    assert sequence(name, timetable(Graph.chain(3), 4, "zero-bubble")) == expected


def test_interleaved_sends_as_many_samples_as_devices_through_all_chunks_in_turn():
    operations = timetable(Graph.chain(4), 4, "interleaved", devices=2)
    of_device = {0: ("f1", "f3"), 1: ("f2", "f4")}
    found = {
        d: " ".join(f"{o.kind}{o.sample}{o.node[1]}" for o in operations if o.node in nodes)
        for d, nodes in of_device.items()
    }
    # Kind, sample, node. Device 0 warms up by 2 * (2 - 1) + (2 - 1) * 2 + 1 = 5, device 1 by 3.
    assert found == {
        0: "F01 F11 F03 F13 F21 B03 F31 B13 F23 B01 F33 B11 B23 B33 B21 B31",
        1: "F02 F12 F04 B04 F14 B14 F22 B02 F32 B12 F24 B24 F34 B34 B22 B32",
    }


def most_held(operations, name, last):
    """The most samples between their forward and their last part at a node."""
    held = most = 0
    for o in operations:
        if o.node == name:
            held += {"F": 1, last: -1}.get(o.kind, 0)
            most = max(most, held)
    return most


def test_memory_is_bounded_by_the_depth_except_with_gpipe():
    graph, samples = Graph.chain(4), 9
    gpipe, early = timetable(graph, samples), timetable(graph, samples, "1f1b")
    split = timetable(graph, samples, "zero-bubble")
    names = list(graph.nodes)
    assert [most_held(gpipe, name, "B") for name in names] == [9, 9, 9, 9]
    assert [most_held(early, name, "B") for name in names] == [4, 3, 2, 1]
    assert [most_held(split, name, "W") for name in names] == [4, 4, 4, 4]
