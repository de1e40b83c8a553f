"""A function of tensors, recorded once and run again without the Python between its operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pprs.smoothing._autocast import without_autocast
from pprs.smoothing._caches import fresh_caches
from pprs.smoothing._cuda_graph import CudaGraph
from pprs.smoothing.native.recording import Calls, recording

_CPU = torch.device("cpu")
Function: TypeAlias = Callable[..., tuple[Tensor | None, ...]]


class Replay(Protocol):
    """Runs what was recorded, on other inputs of the same shapes."""

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]: ...


def record(function: Function, inputs: Sequence[Tensor], device: torch.device) -> Replay:
    """Record a function: torch's operations on a CPU, the kernels on a CUDA device.

    Tensors that it meets besides its inputs are read anew in each run. All else, such as numbers
    and the branches of `if`, stays what it is now.

    Args:
        function: gives tensors without graph, or `None`.
        inputs: to run it on now.
        device: where it runs.

    Raises:
        Exception: whatever torch says of a function that cannot be recorded.
    """
    with fresh_caches():  # or a parameter that autocast has cast before would never change
        if device.type == "cuda":
            return CudaGraph(function, inputs)
        if device.type == "cpu":
            return Operations(function, inputs)
    raise RuntimeError(f"there is no recording for tensors on {device.type}")


class Operations:
    """Torch's operations in their order, as a straight line of Python."""

    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        from torch.fx.experimental.proxy_tensor import make_fx  # takes a second

        def guarded(*rows: Tensor) -> tuple[Tensor | None, ...]:
            with _TensorsOnly(), _NoArrays():  # type: ignore[no-untyped-call]
                return function(*rows)

        # Tensors of their own: one that is given twice, or held, too, may be another next time.
        rows = [tensor.detach() for tensor in inputs]
        with recording() as calls:
            traced = make_fx(guarded, tracing_mode="real")(*rows)
        self._held = _simplified(traced, calls)
        traced.recompile()
        self._run = traced.forward
        self._others = {_memory(held) for held in self._held if isinstance(held, Tensor)}

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        with without_autocast(_CPU):  # which has cast what it would cast
            results = self._run(*inputs, *self._held)
        # Each result is in a memory of its own: it may be changed in place.
        used, own = {*self._others, *map(_memory, inputs)}, list[Tensor | None]()
        for result in results:
            if result is not None and (_memory(result) in used or not result.is_contiguous()):
                result = result.clone(memory_format=torch.contiguous_format)  # noqa: PLW2901
            if result is not None:
                used.add(_memory(result))
            own.append(result)
        return own


class _TensorsOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, nothing may depend on the values of tensors but tensors, of shapes that do not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError(f"{func} gives Python the value of a tensor")
        indices = args[1] if func is torch.ops.aten.index.Tensor else None
        masks = [i for i in indices or () if i is not None and i.dtype in _MASKS]
        if torch.Tag.dynamic_output_shape in func.tags and (indices is None or masks):
            raise RuntimeError(f"{func} gives a tensor whose shape depends on values")
        return func(*args, **(kwargs or {}))


_MASKS = (torch.bool, torch.uint8)


class _NoArrays(TorchFunctionMode):
    """Inside, no tensor becomes an array, whose values would stay what they are."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _ARRAYS:
            raise RuntimeError(f"{func.__name__} gives Python the values of a tensor")
        return func(*args, **(kwargs or {}))


_ARRAYS = (Tensor.numpy, Tensor.__array__, Tensor.tolist, Tensor.__dlpack__)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _simplified(traced: fx.GraphModule, calls: Calls) -> list[Any]:
    """Let a graph call compiled code itself, and take what it holds as arguments.

    Returns:
        What the further arguments are.
    """
    graph = traced.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])  # there is no gradient
            graph.erase_node(node)
        elif node.op == "call_function" and str(node.target) == "pprs.native.default":
            tensors, number = node.args
            node.target, node.args = _call, (_holding(traced, node, calls.made[number]), tensors)
        elif getattr(node.target, "is_view", False) and _holds_all(node):
            # A view of what is held sees what that will be, too.
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda arg: _held(traced, arg))
            with torch.no_grad():
                view = _holding(traced, node, node.target(*args, **kwargs))
            node.replace_all_uses_with(view)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    for node in graph.nodes:
        node.target = _binding(node) or node.target
    return _as_arguments(traced)


def _binding(node: fx.Node) -> Any:
    """Torch's function for an operation, which is called in half the time."""
    target: Any = node.target
    if node.op != "call_function" or getattr(target, "namespace", "") != "aten":
        return None
    name = target._schema.name.removeprefix("aten::")
    if name not in _SAME_ARGUMENTS or node.kwargs:
        return None
    return getattr(torch, name, None) or getattr(Tensor, name)


# Where torch's function takes the arguments as the operation does.
_SAME_ARGUMENTS = frozenset(
    {
        *("add", "addmm", "baddbmm", "bmm", "clone", "div", "exp", "expand", "log", "mean", "mm"),
        *("mul", "neg", "permute", "relu", "select", "sigmoid", "sub", "sum", "t", "tanh"),
        *("transpose", "unsqueeze", "view"),
    }
)


def _as_arguments(traced: fx.GraphModule) -> list[Any]:
    """Attributes become arguments: looking one up in a module takes as long as an operation."""
    graph = traced.graph
    last = [node for node in graph.nodes if node.op == "placeholder"][-1:]
    arguments: dict[int, tuple[fx.Node, Any]] = {}
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        value = _held(traced, node)
        if id(value) not in arguments:
            place = graph.inserting_after(last[0]) if last else graph.inserting_before(None)
            with place:
                last = [graph.placeholder(f"held_{len(arguments)}")]
            arguments[id(value)] = last[0], value
        node.replace_all_uses_with(arguments[id(value)][0])
        graph.erase_node(node)
    return [value for _, value in arguments.values()]


def _holds_all(node: fx.Node) -> bool:
    return bool(node.all_input_nodes) and all(n.op == "get_attr" for n in node.all_input_nodes)


def _holding(traced: fx.GraphModule, node: fx.Node, value: Any) -> fx.Node:
    """A node before another one that stands for something to be held."""
    name = f"_{node.name}"
    setattr(traced, name, value)
    with traced.graph.inserting_before(node):
        return traced.graph.create_node("get_attr", name)


def _held(traced: fx.GraphModule, node: fx.Node) -> Any:
    value: Any = traced
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value


def _call(function: Callable[[Sequence[Tensor]], Any], tensors: Sequence[Tensor]) -> Any:
    return function(tensors)
