"""Recorded passes: what compiled code was called with, and keys that each run has anew.

While a pass is recorded, a parameter's key is a `Key`, a place in a table that every run of the
recording fills in; and torch is shown each call of compiled code as an operation of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from collections.abc import Iterator

P = ParamSpec("P")
R = TypeVar("R")


class Keys:
    """The keys of a recorded pass, by the names of the parameters.

    Args:
        names: of all parameters that may be asked for.
        device: where the pass runs.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = tuple(names)
        self.values = [0] * len(self.names)
        cuda = device.type == "cuda"
        self.table = torch.zeros(len(self.names), dtype=torch.int64, device=device)
        self._host = torch.zeros(len(self.names), dtype=torch.int64, device="cpu", pin_memory=cuda)
        self._places = {name: Key(self, place) for place, name in enumerate(self.names)}

    def key(self, name: str) -> Key:
        """Where the key of this parameter will stand."""
        return self._places[name]

    def fill(self, values: Sequence[int]) -> None:
        """Give the keys of the next run, in the order of the names; the last one must be over."""
        self.values[:] = values
        self._host.copy_(torch.tensor(values, dtype=torch.int64, device="cpu"))
        self.table.copy_(self._host, non_blocking=True)


@dataclass(frozen=True, eq=False)
class Key:
    """A key that is known only when the recording is run: no number, so that none is kept."""

    keys: Keys
    place: int

    @property
    def value(self) -> int:
        """What it is in this run."""
        return self.keys.values[self.place]

    @property
    def tensor(self) -> Tensor:
        """The same as a scalar tensor, for torch's operations."""
        return self.keys.table[self.place]


class Call:
    """A call of compiled code, to be made again with other tensors and keys.

    Args:
        function: what is called.
        args: with which arguments: tensors and keys are found again in lists and tuples.
    """

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.tensors: list[Tensor] = []
        """Those of this call."""
        self._constants: list[Any] = [function]
        # Written out, since taking the arguments apart each time would take longer than the code.
        written = f"lambda t, c: c[0]({', '.join(map(self._written, args))})"
        self._made: Callable[[Sequence[Tensor], list[Any]], Any] = eval(written)

    def make(self, tensors: Sequence[Tensor]) -> Any:
        """Make it with other tensors."""
        return self._made(tensors, self._constants)

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Make it, and give all tensors that come out, one after the other."""
        return _flat(self.make(tensors))

    def _written(self, value: Any) -> str:
        if isinstance(value, Tensor):
            self.tensors.append(value)
            return f"t[{len(self.tensors) - 1}]"
        if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            parts = ", ".join(map(self._written, value))
            named = hasattr(value, "_fields")
            return f"{self._kept(type(value))}({parts})" if named else f"[{parts}]"
        if is_dataclass(value) and not isinstance(value, Key):
            parts = ", ".join(self._written(getattr(value, part.name)) for part in fields(value))
            return f"{self._kept(type(value))}({parts})"
        return f"{self._kept(value)}.value" if isinstance(value, Key) else self._kept(value)

    def _kept(self, constant: Any) -> str:
        self._constants.append(constant)
        return f"c[{len(self._constants) - 1}]"


def _flat(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [tensor for part in result or () for tensor in _flat(part)]


@dataclass
class Calls:
    """The calls of compiled code in a recorded pass, in their order."""

    made: list[Call] = field(default_factory=list)
    result: Any = None  # of the last one, in its own shape

    def shown(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call a function by way of torch's operation, which the recording sees."""
        call = Call(function, args)
        self.made.append(call)
        tensors, call.tensors = call.tensors, []
        shown = iter(_operation()(tensors, len(self.made) - 1))
        result, self.result = self.result, None
        return tree_map(lambda _: next(shown), result)


_calls: ContextVar[Calls | None] = ContextVar("_calls", default=None)


@contextmanager
def recording() -> Iterator[Calls]:
    """Inside the block, calls of `recordable` functions are recorded."""
    calls = Calls()
    token = _calls.set(calls)
    try:
        yield calls
    finally:
        _calls.reset(token)


def is_recorded() -> bool:
    """Whether a pass is being recorded, whose numbers must not be asked for."""
    return _calls.get() is not None


def recordable(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of tensors, which calls compiled code, be recorded.

    It takes positional arguments, and gives new tensors, in tuples and lists, or nothing.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        calls = _calls.get()
        if calls is None:
            return function(*args, **kwargs)
        assert not kwargs
        return cast(R, calls.shown(function, args))

    return call


@functools.cache
def _operation() -> Any:
    library: Any = torch.library.Library("pprs", "DEF")  # type: ignore[no-untyped-call]
    library.define("native(Tensor[] tensors, int number) -> Tensor[]")

    def native(tensors: list[Tensor], number: int) -> list[Tensor]:
        calls = _calls.get()
        assert calls is not None
        calls.result = calls.made[number].make(tensors)
        return _flat(calls.result)

    library.impl("native", native, "CompositeExplicitAutograd")
    _kept.append(library)
    return torch.ops.pprs.native.default


_kept: list[Any] = []  # a library's operations go with it
