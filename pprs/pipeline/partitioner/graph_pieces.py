"""Where a model's graph is cut, and its pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn

from pprs.pipeline.partitioner.aten_calls import call
from pprs.pipeline.partitioner.live_tensors import LiveTensors, shape


def cuts(flow: LiveTensors, largest: int) -> list[int]:
    """The places of the cuts: between calls that receive parameters, where one result is alive.

    Args:
        flow: of the model.
        largest: a piece with more calls that receive parameters is cut where two results are alive,
            then three, and so on.
    """
    places: list[int] = []
    carried: list[float] = []
    for before, after in pairwise(flow.uses):
        fewest = min((flow.carried(p), -p) for p in range(before + 1, after + 1))
        carried.append(fewest[0])
        places.append(-fewest[1])

    def within(start: int, stop: int, level: int) -> list[int]:
        if start >= stop or (level > 1 and stop - start < largest):
            return []
        if min(carried[start:stop]) == math.inf:
            return []
        chosen = [i for i in range(start, stop) if carried[i] <= level]
        found = list(chosen)
        for before, after in pairwise([start - 1, *chosen, stop]):
            found += within(before + 1, after, level + 1)
        return sorted(found)

    return [places[i] for i in within(0, len(carried), 1)]


def pieces(flow: LiveTensors, places: Sequence[int], training: bool) -> list[fx.GraphModule]:
    """The pieces of a model between cuts, each a module that holds the model's own parameters."""
    result = []
    for start, stop in pairwise([0, *places, len(flow.calls)]):
        result.append(_Piece(flow, start, stop).module(training))
    return result


class _Piece:
    """The graph of the calls from one place to another."""

    def __init__(self, flow: LiveTensors, start: int, stop: int) -> None:
        self._flow, self._graph = flow, fx.Graph()
        self._copies: dict[fx.Node, fx.Node] = {}
        inputs = flow.traced.graph.find_nodes(op="placeholder")
        arriving = flow.alive[start] if start else inputs
        for node in arriving:
            self._copies[node] = self._graph.placeholder(node.name)
        if not start:
            for node in arriving:
                arguments = (self._copies[node], node.name, _expected(node))
                self._copies[node] = self._graph.call_function(_checked, arguments)
        self._arriving = list(arriving)
        for node in flow.calls[start:stop]:
            self._copies[node] = self._call(node)
        if stop < len(flow.calls):
            leaving = tuple(self._copy(node) for node in flow.alive[stop])
            self._graph.output(leaving[0] if len(leaving) == 1 else leaving)
        else:
            (output,) = flow.traced.graph.output_node().args
            parts: Any = fx.node.map_arg(output, self._copy)
            self._graph.output(self._formed(flow.traced.output, parts))
        self._graph.eliminate_dead_code()

    def module(self, training: bool) -> fx.GraphModule:
        attributes, transient = self._flow.traced.attributes, self._flow.traced.transient
        names = [str(node.target) for node in self._graph.find_nodes(op="get_attr")]
        root = {name: training if name == "training" else attributes[name] for name in names}
        module = fx.GraphModule(root, self._graph, "Piece")
        module.training = training
        for name in transient & root.keys():
            owner, _, field = name.rpartition(".")
            module.get_submodule(owner)._non_persistent_buffers_set.add(field)
        parameters = [n for n in names if isinstance(root[n], nn.Parameter)]
        module.meta["layer"] = parameters[0].rpartition(".")[0] if parameters else ""
        return module

    def _formed(self, output: Any, parts: Sequence[fx.Node]) -> Any:
        """The output with nodes for the numbers of parts in it."""
        if isinstance(output, dict):
            return {key: self._formed(value, parts) for key, value in output.items()}
        if not isinstance(output, tuple | list):
            return None if output is None else parts[output]
        several = tuple(self._formed(value, parts) for value in output)
        if hasattr(output, "_fields"):  # torch 2.11 cannot write a named tuple as an output
            return self._graph.call_function(type(output), several)
        return list(several) if isinstance(output, list) else several

    def _copy(self, node: fx.Node) -> fx.Node:
        if node not in self._copies:
            self._copies[node] = self._made(node)
        return self._copies[node]

    def _made(self, node: fx.Node) -> fx.Node:
        if node.op == "get_attr":
            return self._graph.create_node("get_attr", str(node.target))
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt):
            for arrived in self._arriving:
                sizes = shape(arrived)
                if value.node.expr in sizes:
                    dimension = sizes.index(value.node.expr)
                    return self._graph.call_method("size", (self._copies[arrived], dimension))
        return self._call(node)

    def _call(self, node: fx.Node) -> fx.Node:
        return call(self._graph, node, self._copy, self._flow.traced.device)


def _expected(node: fx.Node) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape(node))


def _checked(tensor: Tensor, name: str, expected: tuple[int | None, ...]) -> Tensor:
    """An input, or `ValueError` where the traced graph would compute something else with it."""
    fits = tensor.dim() == len(expected) and all(
        size in (None, seen) for size, seen in zip(expected, tensor.shape, strict=True)
    )
    if not fits:
        sizes = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(
            f"input {name} has shape {tuple(tensor.shape)}, but the model was traced for "
            f"({sizes}): pad it to that, or cut the model on an example of the new shape"
        )
    return tensor
