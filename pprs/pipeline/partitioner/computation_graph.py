"""The computation graph of a network, with the time that each of its functions takes."""

from __future__ import annotations

import copy
import inspect
import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from pprs._arguments import counts, non_negative
from pprs.pipeline.partitioner.costs import timed

if TYPE_CHECKING:
    from pprs.theory import Graph, Node

_CALLS = ("call_module", "call_function", "call_method")


def trace_graph(model: nn.Module, *inputs: Tensor, latency: float = 0.0, repeats: int = 5) -> Graph:
    """The computation graph of a network: who takes whose output, and what each call costs.

    One node for each call of a module of `torch.nn`, of a function or of a method that the output
    needs and that depends on inputs or parameters, named as `torch.fx` names it. The root is the
    input, a node without costs; several inputs are one root, `"inputs"`. It counts for the depth.

    Each node runs by itself on the inputs that it has in the network. Its backward gives the
    gradients by its floating-point inputs and its module's trainable parameters; it costs 0 where
    there is none. The network, its gradients and the random numbers are left as they are.

    Args:
        model: a network that `torch.fx.symbolic_trace` can trace; in training mode or not.
        inputs: the arguments of its forward.
        latency: of every edge, in seconds, at least 0.
        repeats: how often each node runs, at least 1; its time is the median.

    Returns:
        The graph, with seconds as costs.

    Raises:
        ValueError: for a network that cannot be traced, or inputs that it does not take.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> graph = trace_graph(model, torch.randn(5, 3))
        >>> graph.order, graph.depth
        (('input_1', '_0', '_1', '_2'), 4)
    """
    from pprs.theory import Graph, Node

    counts(repeats=repeats)
    non_negative(latency=latency)
    for value in inputs:
        if not isinstance(value, Tensor):
            raise ValueError(f"inputs must be tensors, got a {type(value).__name__}")
    name = type(model).__name__
    try:
        inspect.signature(model.forward).bind(*inputs)
    except TypeError as error:
        raise ValueError(f"inputs must be the arguments of {name}.forward: {error}") from error
    traced = _trace(copy.deepcopy(model), name)
    parents = _parents(traced)
    stopwatch = _Stopwatch(traced, repeats, parents)
    with torch.enable_grad(), torch.random.fork_rng({x.device.index for x in inputs if x.is_cuda}):
        try:
            stopwatch.run(*inputs)
        except Exception as error:  # whatever the model's own code raises for inputs like these
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
            first = str(error).strip().partition("\n")[0]
            raise ValueError(f"{name} does not take inputs of shape {shapes}: {first}") from error
    root = _root(traced, parents)
    nodes = {root: Node(0.0, 0.0), **stopwatch.costs}
    edges = {
        (tail or root, n.name): latency for n, tails in parents.items() for tail in tails or ("",)
    }
    return Graph(nodes, edges)


def _trace(model: nn.Module, name: str) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(model)
    except Exception as error:  # whatever the model's own code raises when it meets a proxy
        raise ValueError(
            f"torch.fx cannot trace {name}: {error}. Take what depends on the values of tensors "
            "(if, for, int(), len()) out of its forward or, with torch.fx.wrap, into a function; "
            "or write the graph by hand as pprs.theory.Graph"
        ) from error


def _parents(traced: fx.GraphModule) -> dict[fx.Node, list[str]]:
    """The calls that make nodes, each with the names of the calls whose outputs it takes.

    The name of an input is empty.
    """
    depends: set[fx.Node] = set()
    for node in traced.graph.nodes:
        module = traced.get_submodule(str(node.target)) if node.op == "call_module" else nn.Module()
        enters = node.op in ("placeholder", "get_attr") or any(True for _ in module.parameters())
        if enters or not depends.isdisjoint(node.all_input_nodes):
            depends.add(node)
    needed: set[fx.Node] = set()
    for node in reversed(traced.graph.nodes):
        if node.op == "output" or not needed.isdisjoint(node.users):
            needed.add(node)
    calls = {n for n in depends & needed if n.op in _CALLS}
    return {
        n: [
            p.name if p in calls else ""
            for p in n.all_input_nodes
            if p in calls or p.op == "placeholder"
        ]
        for n in traced.graph.nodes
        if n in calls
    }


def _root(traced: fx.GraphModule, calls: Iterable[fx.Node]) -> str:
    placeholders = [node.name for node in traced.graph.nodes if node.op == "placeholder"]
    name = placeholders[0] if len(placeholders) == 1 else "inputs"
    while name in {call.name for call in calls}:
        name += "_"
    return name


class _Stopwatch(fx.Interpreter):
    """Runs a network call by call and measures some of them."""

    def __init__(self, traced: fx.GraphModule, repeats: int, calls: Iterable[fx.Node]) -> None:
        super().__init__(traced)
        self._repeats = repeats
        self._calls = set(calls)
        self.costs: dict[str, Node] = {}

    def run_node(self, n: fx.Node) -> Any:
        from pprs.theory import Node

        if n not in self._calls:
            return super().run_node(n)
        output, *_ = self._run(n)  # the first time is longer, for many a reason
        times = [self._run(n)[1:] for _ in range(self._repeats)]
        forward, backward = (statistics.median(each) for each in zip(*times, strict=True))
        self.costs[n.name] = Node(forward, backward)
        return output

    def _run(self, n: fx.Node) -> tuple[Any, float, float]:
        """The output, and the seconds of the forward and of the backward."""
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else nn.Module()

        def call(given: Any) -> Any:
            return getattr(self, n.op)(n.target, *given)

        return timed(call, self.fetch_args_kwargs_from_env(n), module.parameters())
