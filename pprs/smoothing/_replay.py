"""A function of tensors, recorded once and run again without the Python between its operations."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

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
        # Tensors of their own: one that is given twice, or held, too, may be another next time.
        rows = [tensor.detach() for tensor in inputs]
        with recording() as calls:
            written = _Written(rows, calls)
            with written, _NoArrays():
                results = function(*rows)
        self._held, self._run = written.held, written.finished(results)
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


class _Written(TorchDispatchMode):
    """Inside, each operation runs and is written down, below autograd and vmap.

    Nothing may depend on the values of tensors but tensors, of shapes that do not.

    Args:
        inputs: tensors that are others in each run.
        calls: those of compiled code.

    Attributes:
        held: what a run takes besides.
    """

    def __init__(self, inputs: Sequence[Tensor], calls: Calls) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: list[Any] = []
        self._graph, self._calls = fx.Graph(), calls
        self._nodes: Any = WeakTensorKeyDictionary()
        self._places: dict[int, tuple[Tensor, fx.Node]] = {}  # of the tensors that are held
        self._last = self._graph._root
        for number, tensor in enumerate(inputs):
            self._nodes[tensor] = self._argument(f"input_{number}")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch would import its compiler, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        _check_values(func, args)
        if func is torch.ops.aten.lift_fresh.default:  # of what may be changed in place
            func = torch.ops.aten.lift_fresh_copy.default
        elif torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _OF_OTHERS):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        known = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if func.is_view and not any(tensor in self._nodes for tensor in known):
            return result  # a view of what is held sees what that will be, too
        if func is torch.ops.aten.detach.default:  # there is no gradient
            self._nodes[result] = self._node(args[0])
            return result
        args, kwargs = tree_map_only(Tensor, self._node, (args, kwargs))
        if str(func) == "pprs.native.default":
            tensors, number = args
            node = self._graph.call_function(_call, (self._hold(self._calls.made[number]), tensors))
        else:
            node = self._graph.call_function(_binding(func, kwargs), args, kwargs)
        self._follow(result, node)
        return result

    def finished(self, results: Sequence[Tensor | None]) -> Callable[..., list[Tensor | None]]:
        """What gives the results again, of other inputs and what is held."""
        self._graph.output([None if t is None else self._node(t) for t in results])
        self._graph.eliminate_dead_code()
        return fx.GraphModule(nn.Module(), self._graph).forward

    def _node(self, tensor: Tensor) -> fx.Node:
        """What stands for a tensor."""
        node: fx.Node | None = self._nodes.get(tensor)
        if node is not None:
            return node
        if id(tensor) not in self._places:
            self._places[id(tensor)] = tensor, self._hold(tensor.detach())
        return self._places[id(tensor)][1]

    def _hold(self, value: Any) -> fx.Node:
        self.held.append(value)
        return self._argument(f"held_{len(self.held)}")

    def _argument(self, name: str) -> fx.Node:
        with self._graph.inserting_after(self._last):
            self._last = self._graph.placeholder(name)
        return self._last

    def _follow(self, result: Any, node: fx.Node) -> None:
        """Let tensors stand for what an operation has given."""
        if isinstance(result, Tensor):
            self._nodes[result] = node
        elif isinstance(result, list | tuple):
            for place, part in enumerate(result):
                if part is not None:
                    self._follow(part, self._graph.call_function(operator.getitem, (node, place)))


def _check_values(func: Any, args: Any) -> None:
    """Refuse what gives Python a value, or a tensor of a shape that depends on values."""
    if torch.Tag.data_dependent_output in func.tags:
        raise RuntimeError(f"{func} gives Python the value of a tensor")
    indices = args[1] if func is torch.ops.aten.index.Tensor else None
    masks = [i for i in indices or () if i is not None and i.dtype in _MASKS]
    if torch.Tag.dynamic_output_shape in func.tags and (indices is None or masks):
        raise RuntimeError(f"{func} gives a tensor whose shape depends on values")


_MASKS = (torch.bool, torch.uint8)
_OF_OTHERS = "CompositeImplicitAutograd"  # operations that are made of others


class _NoArrays(TorchFunctionMode):
    """Inside, no tensor becomes an array, whose values would stay what they are."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _ARRAYS:
            raise RuntimeError(f"{func.__name__} gives Python the values of a tensor")
        return func(*args, **(kwargs or {}))


_ARRAYS = (Tensor.numpy, Tensor.__array__, Tensor.tolist, Tensor.__dlpack__)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _binding(func: Any, kwargs: Any) -> Any:
    """Torch's function for an operation, which is called in half the time; else the operation."""
    name = func._schema.name.removeprefix("aten::")
    if name not in _SAME_ARGUMENTS or kwargs:
        return func
    return getattr(torch, name, None) or getattr(Tensor, name)


# Where torch's function takes the arguments as the operation does.
_SAME_ARGUMENTS = frozenset(
    {
        *("add", "addmm", "baddbmm", "bmm", "clone", "div", "exp", "expand", "log", "mean", "mm"),
        *("mul", "neg", "permute", "relu", "select", "sigmoid", "sub", "sum", "t", "tanh"),
        *("transpose", "unsqueeze", "view"),
    }
)


def _call(function: Callable[[Sequence[Tensor]], Any], tensors: Sequence[Tensor]) -> Any:
    return function(tensors)
