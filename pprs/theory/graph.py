"""Computation graphs: which function waits for which, and what each costs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pprs._arguments import counts, non_negative


@dataclass(frozen=True)
class Node:
    """One function of a graph, on a device of its own.

    Args:
        forward: time of a forward pass, at least 0.
        backward: time of a backward pass, at least 0.

    Example:
        >>> Node(forward=1.0, backward=2.0)
        Node(forward=1.0, backward=2.0)
    """

    forward: float = 1.0
    backward: float = 1.0


@dataclass(frozen=True)
class Graph:
    r"""A directed acyclic graph of functions with one root, where the parameters enter.

    Every edge leads from a function to one that takes its output. The objective is the sum of the
    outputs of the leaves, the nodes without children.

    Args:
        nodes: by name.
        edges: latency of each, at least 0, by the names of its ends. A vector is that long under
            way, in either direction.

    Raises:
        ValueError: for no node, a cycle, several roots, an end that is no node, or a cost or
            latency that is negative or not finite.

    Example:
        >>> Graph.chain(3).depth
        3
    """

    nodes: Mapping[str, Node]
    edges: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import networkx as nx

        if not self.nodes:
            raise ValueError("nodes must name at least one node, got none")
        for name, node in self.nodes.items():
            non_negative(**{f"forward of {name!r}": node.forward})
            non_negative(**{f"backward of {name!r}": node.backward})
        for (tail, head), latency in self.edges.items():
            non_negative(**{f"latency of ({tail!r}, {head!r})": latency})
            for end in (tail, head):
                if end not in self.nodes:
                    raise ValueError(f"edges has ({tail!r}, {head!r}), but {end!r} is no node")
        if not nx.is_directed_acyclic_graph(self._networkx):
            cycle = [tail for tail, _ in nx.find_cycle(self._networkx)]
            raise ValueError(f"edges must have no cycle, got {' -> '.join([*cycle, cycle[0]])}")
        roots = [name for name in self.nodes if not self.parents[name]]
        if len(roots) != 1:
            raise ValueError(f"a graph must have one root, where parameters enter, got {roots}")

    @classmethod
    def chain(
        cls,
        depth: int,
        forward: float | Sequence[float] = 1.0,
        backward: float | Sequence[float] = 1.0,
        latency: float | Sequence[float] = 0.0,
    ) -> Graph:
        r"""$\Delta$ nodes, `"f1"` (the root) to `"fΔ"`, one after the other.

        Args:
            depth: number $\Delta$ of nodes, at least 1.
            forward: time of a forward pass, of all nodes or of each.
            backward: time of a backward pass.
            latency: of all edges or of each, $\Delta - 1$ numbers.
        """
        counts(depth=depth)
        forwards, backwards = _each("forward", forward, depth), _each("backward", backward, depth)
        names = [f"f{i + 1}" for i in range(depth)]
        nodes = dict(zip(names, map(Node, forwards, backwards), strict=True))
        latencies = _each("latency", latency, depth - 1)
        return cls(nodes, dict(zip(itertools.pairwise(names), latencies, strict=True)))

    @classmethod
    def from_networkx(cls, graph: Any) -> Graph:
        """From a `networkx.DiGraph`.

        Attributes `forward` and `backward` of a node (1 by default) are its times, `latency`
        of an edge (0 by default) its latency. Names become strings.
        """
        import networkx as nx

        if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
            raise ValueError(f"graph must be a networkx.DiGraph, got {type(graph).__name__}")
        if len({str(name) for name in graph}) < len(graph):
            raise ValueError(f"graph has nodes that are called alike as strings: {list(graph)}")
        nodes = {
            str(name): Node(seen.get("forward", 1.0), seen.get("backward", 1.0))
            for name, seen in graph.nodes(data=True)
        }
        edges = {
            (str(tail), str(head)): seen.get("latency", 0.0)
            for tail, head, seen in graph.edges(data=True)
        }
        return cls(nodes, edges)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The names, each after its parents."""
        import networkx as nx

        return tuple(nx.lexicographical_topological_sort(self._networkx, list(self.nodes).index))

    @cached_property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """The nodes whose outputs a node takes, in the order of the edges."""
        return {n: tuple(self._networkx.predecessors(n)) for n in self.nodes}

    @cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """The nodes that take a node's output."""
        return {n: tuple(self._networkx.successors(n)) for n in self.nodes}

    @property
    def root(self) -> str:
        """The node where the parameters enter."""
        return self.order[0]

    @property
    def leaves(self) -> tuple[str, ...]:
        """The nodes whose outputs add up to the objective."""
        return tuple(name for name in self.order if not self.children[name])

    @cached_property
    def depth(self) -> int:
        r"""Number $\Delta$ of nodes on the longest chain."""
        import networkx as nx

        length: int = nx.dag_longest_path_length(self._networkx, weight=None, default_weight=1)
        return length + 1

    @cached_property
    def _networkx(self) -> Any:
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(self.edges)
        return graph


def _each(name: str, values: float | Sequence[float], count: int) -> list[float]:
    if isinstance(values, int | float):
        return [values] * count
    if len(values) != count:
        raise ValueError(f"{name} must be one number or {count}, got {len(values)} numbers")
    return list(values)
