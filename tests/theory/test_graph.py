import networkx as nx
import pytest

from pprs.theory import Graph, Node


def test_a_chain_has_its_depth_costs_and_latencies():
    graph = Graph.chain(3, forward=[1, 2, 3], backward=4, latency=[5, 6])
    assert graph.depth == 3
    assert (graph.root, graph.leaves) == ("f1", ("f3",))
    assert graph.nodes["f2"] == Node(2, 4)
    assert graph.edges == {("f1", "f2"): 5, ("f2", "f3"): 6}
    assert Graph.chain(1).depth == 1


def test_depth_is_the_longest_chain_not_the_shortest_nor_the_size():
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")]
    graph = Graph(dict.fromkeys("abcd", Node()), dict.fromkeys(edges, 0.0))
    assert graph.depth == 3
    assert graph.leaves == ("c", "d")
    assert graph.parents["c"] == ("b", "a") or graph.parents["c"] == ("a", "b")
    assert graph.order.index("a") < graph.order.index("b") < graph.order.index("c")


def test_networkx_graphs_keep_their_attributes():
    source = nx.DiGraph()
    source.add_node(1, forward=2.0)
    source.add_edge(1, 2, latency=3.0)
    source.add_edge(2, 3)
    graph = Graph.from_networkx(source)
    assert graph.nodes == {"1": Node(2.0, 1.0), "2": Node(), "3": Node()}
    assert graph.edges == {("1", "2"): 3.0, ("2", "3"): 0.0}


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("", [], "at least one node"),
        ("ab", [], "one root.*got \\['a', 'b'\\]"),
        ("abc", [("a", "c"), ("b", "c")], "one root"),
        ("ab", [("a", "b"), ("b", "a")], "no cycle, got a -> b -> a"),
        ("a", [("a", "b")], "'b' is no node"),
    ],
)
def test_what_is_no_computation_graph_is_refused(nodes, edges, message):
    with pytest.raises(ValueError, match=message):
        Graph(dict.fromkeys(nodes, Node()), dict.fromkeys(edges, 0.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(depth=0), "depth must be an integer of at least 1, got 0"),
        (dict(depth=1.5), "got 1.5"),
        (dict(depth=2, forward=-1), "forward of 'f1' must be .* at least 0, got -1"),
        (dict(depth=2, backward=float("nan")), "backward of 'f1'"),
        (dict(depth=2, latency=float("inf")), "latency of \\('f1', 'f2'\\)"),
        (dict(depth=2, forward=[1, 2, 3]), "forward must be one number or 2, got 3"),
    ],
)
def test_wrong_costs_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Graph.chain(**arguments)


def test_graphs_that_are_undirected_have_parallel_edges_or_names_alike_are_refused():
    with pytest.raises(ValueError, match="networkx.DiGraph, got Graph"):
        Graph.from_networkx(nx.Graph([(1, 2)]))
    with pytest.raises(ValueError, match="networkx.DiGraph, got MultiDiGraph"):
        Graph.from_networkx(nx.MultiDiGraph([(1, 2), (1, 2)]))
    with pytest.raises(ValueError, match="called alike as strings"):
        Graph.from_networkx(nx.DiGraph([(1, "1")]))
