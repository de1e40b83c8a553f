"""The tensors that are live between the calls of a model's graph."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from pprs.pipeline.partitioner.aten_calls import writes
from pprs.pipeline.partitioner.export import Traced


@dataclass(frozen=True)
class LiveTensors:
    """The tensors that are live between the calls of a graph.

    Only what depends on parameters (or chance) is in the sequence of calls. All else, such as a
    mask made from the inputs, is computed anew by each piece that needs it, from the inputs, which
    then travel along; sizes are read off the tensors that arrive.

    Args:
        traced: the graph.
    """

    traced: Traced

    @cached_property
    def calls(self) -> list[fx.Node]:
        """The calls that depend on parameters or chance, or on what is written in place."""
        chosen: dict[fx.Node, None] = {}
        for node in self._functions:
            if isinstance(node.meta.get("val"), torch.SymInt):
                continue
            sources = node.all_input_nodes
            depends = any(self.is_parameter(n) or n in chosen for n in sources)
            written = any("written" in n.meta for n in (node, *sources))
            if depends or written or _random(node):
                chosen[node] = None
        return list(chosen)

    @cached_property
    def uses(self) -> list[int]:
        """The indices of the calls that receive a parameter."""
        return [
            i for i, n in enumerate(self.calls) if any(map(self.is_parameter, n.all_input_nodes))
        ]

    @cached_property
    def alive(self) -> list[tuple[fx.Node, ...]]:
        """For each place, the number of calls before it, what later calls need of earlier ones.

        Inputs that are needed come last.
        """
        last = self._last
        inputs = [n for n in self.traced.graph.find_nodes(op="placeholder") if n in last]
        now: dict[fx.Node, None] = {}
        places = []
        for place in range(len(self.calls) + 1):
            if place:
                now[self.calls[place - 1]] = None
            now = {n: None for n in now if last.get(n, -1) >= place}
            places.append((*now, *(n for n in inputs if last[n] >= place)))
        return places

    def is_parameter(self, node: fx.Node) -> bool:
        """Whether a node is a parameter of the model."""
        return node.op == "get_attr" and isinstance(
            self.traced.attributes.get(str(node.target)), nn.Parameter
        )

    def carried(self, place: int) -> float:
        """How many results of calls a cut here sends on; infinite where no cut may be."""
        arriving = self.alive[place]
        if not all(isinstance(node.meta.get("val"), Tensor) for node in arriving):
            return math.inf  # several tensors in a list, which nobody took out of it yet
        sizes = {size for node in arriving for size in shape(node)}
        if any(first < place <= written for first, written in self._written):
            return math.inf
        if any(last >= place and size not in sizes for size, last in self._sizes.items()):
            return math.inf
        return sum(node.op != "placeholder" for node in arriving)

    def needs(self, node: fx.Node) -> frozenset[fx.Node]:
        """The calls, inputs and sizes that a node is computed from."""
        return self._leaves[node]

    @cached_property
    def _functions(self) -> list[fx.Node]:
        _mark_written(self.traced.graph)
        return [n for n in self.traced.graph.nodes if n.op == "call_function"]

    @cached_property
    def _leaves(self) -> dict[fx.Node, frozenset[fx.Node]]:
        ends = set(self.calls)
        leaves: dict[fx.Node, frozenset[fx.Node]] = {}
        for node in self.traced.graph.nodes:
            found: set[fx.Node] = set()
            for source in node.all_input_nodes:
                if source in ends or source.op == "placeholder" or _size(source) is not None:
                    found.add(source)
                else:
                    found |= leaves[source]
            leaves[node] = frozenset(found)
        return leaves

    @cached_property
    def _last(self) -> dict[fx.Node, int]:
        """The index of the last call that needs a node; the output comes after all calls."""
        last: dict[fx.Node, int] = {}
        for index, node in enumerate([*self.calls, *self.traced.graph.find_nodes(op="output")]):
            last |= dict.fromkeys(self.needs(node), index)
        return last

    @cached_property
    def _sizes(self) -> dict[Any, int]:
        """The index of the last call that needs a free size."""
        sizes: dict[Any, int] = {}
        for node, index in self._last.items():
            size = _size(node)
            if size is not None:
                sizes[size] = max(index, sizes.get(size, 0))
        return sizes

    @cached_property
    def _written(self) -> list[tuple[int, int]]:
        """Spans of calls that a cut would separate from a change in place of their memory.

        What reads a buffer that changes, before or after that, finds it in the same piece only.
        """
        spans: dict[Any, tuple[int, int]] = {}
        for index, node in enumerate(self.calls):
            for member in (node, *node.all_input_nodes):
                memory, writes = member.meta.get("written", (None, False))
                buffer = memory is not None and memory.op == "get_attr"
                if buffer or (memory is not None and member is node):
                    first, last = spans.get(memory, (index, index))
                    spans[memory] = (first, index if buffer or writes else last)
        return [(first, last) for first, last in spans.values()]


def shape(node: fx.Node) -> list[Any]:
    """The sizes of a tensor; those that are free are expressions."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return []
    sizes = [s.node.expr if isinstance(s, torch.SymInt) else s for s in value.shape]
    return [int(size) if getattr(size, "is_number", False) else size for size in sizes]


def _size(node: fx.Node) -> Any:
    """The symbol of a size that is free, if the node is one; multiples of it are computed."""
    value = node.meta.get("val")
    if not isinstance(value, torch.SymInt) or not value.node.expr.is_symbol:
        return None
    return value.node.expr


def _random(node: fx.Node) -> bool:
    tags: Iterable[Any] = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags


def _mark_written(graph: fx.Graph) -> None:
    """Note at each node whose memory is written in place which memory, and if it writes."""
    memory: dict[fx.Node, fx.Node] = {}
    writers: dict[fx.Node, bool] = {}
    members: defaultdict[fx.Node, list[fx.Node]] = defaultdict(list)
    for node in graph.nodes:
        shared = _shares(node)
        memory[node] = memory[shared[0]] if shared else node
        members[memory[node]].append(node)
        writers[node] = bool(shared) and writes(node)
    for together in members.values():
        if any(writers[node] for node in together):
            for node in together:
                node.meta["written"] = (together[0], writers[node])


def _shares(node: fx.Node) -> list[fx.Node]:
    """The arguments whose memory a result may share."""
    target = node.target
    if not isinstance(target, OpOverload):
        # an item of a tuple; what a body returns may be any of its inputs
        return node.all_input_nodes[:1] if node.op == "call_function" else []
    named = [a.name for a in target._schema.arguments if a.alias_info is not None]
    order = [a.name for a in target._schema.arguments]
    given = dict(zip(order, node.args, strict=False)) | dict(node.kwargs)
    return [v for v in map(given.get, named) if isinstance(v, fx.Node)]
