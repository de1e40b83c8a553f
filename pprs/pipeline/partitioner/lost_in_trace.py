"""What a trace would lose of a model's Python: kept whole in the graph, or listed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import CheckpointFunction

_CONSTANTS = (bool, int, float, str, torch.dtype, torch.device, torch.Size, type(None))
# It lives as long as the graphs that have its operations.
_library = torch.library.Library("pprs_cutting", "DEF")  # type: ignore[no-untyped-call]
_numbers = itertools.count()
# What an operation in a graph stands for, by its name.
FUNCTIONS: dict[str, Callable[..., list[Tensor]]] = {}


@contextmanager
def watched(model: nn.Module, assigned: dict[tuple[nn.Module, str], Tensor]) -> Iterator[list[str]]:
    """Trace a model in here: its `autograd.Function`s become operations of the graph.

    A checkpoint that calls backward anew computes the same without: it is left out.

    Args:
        model: that is traced.
        assigned: gets the tensors that the forward replaces, by their modules and names.

    Yields:
        A list, which says after the trace what of the model is not in it.
    """
    lost: list[str] = []
    modules = set(model.modules())
    plain, assign = vars(Function)["apply"], nn.Module.__setattr__

    def apply(kind: type[Function], *args: Any, **kwargs: Any) -> Any:
        return plain.__get__(None, kind)(*args, **kwargs)  # in Python or in C, by torch's version

    def apply_whole(kind: type[Function], *args: Any, **kwargs: Any) -> Any:
        if kind is CheckpointFunction:
            run, _, *inputs = args
            return run(*inputs)
        if kind.__module__.startswith("torch."):
            return apply(kind, *args, **kwargs)
        return _whole(lambda *values: apply(kind, *values, **kwargs), kind.__name__, args)

    def assign_noting(module: nn.Module, name: str, value: Any) -> None:
        if module in modules:
            before = module._buffers.get(name, vars(module).get(name))
            if isinstance(before, Tensor) and value is not before:
                assigned.setdefault((module, name), before)
            if _number(before) and _number(value) and before != value:
                lost.append(f"changes the number {name!r} of a {type(module).__name__}")
        assign(module, name, value)

    def register_noting(tensor: Tensor, hook: Callable[..., Any]) -> Any:
        lost.append(f"registers a hook on a tensor, {getattr(hook, '__qualname__', hook)}")
        return hook_at(tensor, hook)  # type: ignore[no-untyped-call]

    hook_at = Tensor.register_hook
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    with ExitStack() as stack:
        stack.enter_context(patch.object(Function, "apply", classmethod(apply_whole)))
        stack.enter_context(patch.object(nn.Module, "__setattr__", assign_noting))
        stack.enter_context(patch.object(Tensor, "register_hook", register_noting))
        yield lost
    if python != random.getstate():
        random.setstate(python)
        lost.append("draws from Python's random")
    if repr(numpy) != repr(np.random.get_state(legacy=False)):
        np.random.set_state(numpy)
        lost.append("draws from numpy.random")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(function: Callable[..., Any], name: str, args: tuple[Any, ...]) -> Any:
    """Call a function of tensors and constants as one operation, which a trace keeps whole."""
    leaves, structure = tree_flatten(args)
    tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    sizes = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.SymInt)]
    fixed = dict(enumerate(leaves))
    for i, leaf in enumerate(leaves):
        if i not in tensors and i not in sizes and not isinstance(leaf, _CONSTANTS):
            raise TypeError(
                f"{name}.apply is given a {type(leaf).__name__}, whose parameters a trace would "
                "not see"
            )

    def run(values: list[Tensor], numbers: list[int]) -> list[Tensor]:
        given = fixed | dict(zip(tensors, values, strict=True))
        given |= dict(zip(sizes, numbers, strict=True))
        versions = [value._version for value in values]
        results = function(*tree_unflatten([given[i] for i in range(len(leaves))], structure))
        if versions != [value._version for value in values]:
            raise TypeError(f"{name} changes its input in place")
        return list(results) if isinstance(results, tuple) else [results]

    operation = f"{name}_{next(_numbers)}".lower()
    schema = "(Tensor[] tensors, SymInt[] sizes) -> Tensor[]"
    _library.define(f"{operation}{schema}")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"pprs_cutting::{operation}", run, lib=_library)
    FUNCTIONS[operation] = run
    call = getattr(torch.ops.pprs_cutting, operation)
    results = call([leaves[i] for i in tensors], [leaves[i] for i in sizes])
    return results[0] if len(results) == 1 else tuple(results)
