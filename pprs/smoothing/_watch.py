"""A first pass is watched operation by operation: nothing may read a parameter unperturbed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pprs.smoothing._target import Target
from pprs.smoothing._vmap import running

# Which closures ran on a model, in which mode: watching takes as long as another pass.
_seen: WeakKeyDictionary[nn.Module, set[Hashable]] = WeakKeyDictionary()


def is_first(model: nn.Module | None, closure: Callable[..., Any]) -> bool:
    """Whether this closure has not yet run on this model, as far as can be told cheaply."""
    return model is None or _key(model, closure) not in _seen.get(model, ())


def has_run(model: nn.Module | None, closure: Callable[..., Any]) -> None:
    """Remember it."""
    if model is not None:
        _seen.setdefault(model, set()).add(_key(model, closure))


def _key(model: nn.Module, closure: Callable[..., Any]) -> Hashable:
    closure = getattr(closure, "func", closure)  # of functools.partial
    return getattr(closure, "__code__", type(closure)), model.training


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside the block, an operation that reads a parameter itself raises `RuntimeError`.

    Also kept as `refusal`: who called the operation may swallow or wrap it.

    What torch runs without asking a `TorchFunctionMode` is seen here: traced functions, copies
    made in C++, tensors that share the parameter's memory.

    Args:
        targets: the parameters.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler for this class, which takes seconds

    def __init__(self, targets: Iterable[Target]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._targets: dict[int, list[Target]] = {}
        for target in targets:
            self._targets.setdefault(_memory(target.parameter), []).append(target)
        self._hooks = _saving_hooks()
        self.refusal: RuntimeError | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():  # Smoothed has had its turn
            if not running.internally:
                self._check(func, (args, kwargs))
            self._check_hooks()
            return func(*args, **(kwargs or {}))

    def _check(self, func: Any, arguments: Any) -> None:
        # A view reads nothing; whatever reads the view is seen.
        for leaf in () if getattr(func, "is_view", False) else tree_leaves(arguments):
            if isinstance(leaf, Tensor):
                for target in self._targets.get(_memory(leaf), ()):
                    if _overlap(leaf, target.parameter):
                        self._refuse(unperturbed(target.name, func))

    def _check_hooks(self) -> None:
        hooks = _saving_hooks()
        if hooks != self._hooks and "checkpoint" in repr(hooks):
            self._refuse(CHECKPOINT)

    def _refuse(self, refusal: RuntimeError) -> None:
        self.refusal = refusal
        raise refusal


CHECKPOINT = RuntimeError(
    "activation checkpointing (torch.utils.checkpoint) in the closure: on the way back it would "
    "run again, outside torch.func.vmap and at unperturbed parameters. Switch it off"
)


def unperturbed(name: str, operation: object) -> RuntimeError:
    """The error for a parameter that an operation received as it is."""
    return RuntimeError(
        f"parameter {name!r} was used unperturbed, by {operation}: it reached an operation past "
        f"torch's functions (a scripted or traced function, nn.Parameter(...) of it, torch.func, "
        f"a nested tensor, a rule outside call.inside?). Use the plain Python module "
        f"and the parameter itself, or freeze it"
    )


def _memory(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse, nested, ...
        return 0


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one storage meet: several parameters may lie in one."""
    if a.numel() == 0 or b.numel() == 0:
        return False
    (first, last), (start, end) = _range(a), _range(b)
    return first <= end and start <= last


def _range(tensor: Tensor) -> tuple[int, int]:
    reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    width, first = tensor.element_size(), int(tensor.storage_offset())
    return first * width, (first + int(reach)) * width


def _saving_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(False)
