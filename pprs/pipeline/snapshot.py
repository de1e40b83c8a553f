"""The state that running a model changes besides its results, saved and restored."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from pprs.smoothing import Place, hooks_held, places

Restore = Callable[[], object]

_SMALL = 1 << 16  # numbers of a tensor
_OF_EVERY_MODULE = vars(nn.Module()).keys() - {"training"}
_DEPTH = 3  # of containers within each other that an attribute of a module holds


class Snapshot:
    """The buffers, training flags and Python attributes of modules, and all random generators.

    Args:
        modules: with all that is in them.
        function: what it is, or refers to, is kept too, but for large tensors of no module.
    """

    def __init__(
        self, modules: Iterable[nn.Module], function: Callable[..., Any] | None = None
    ) -> None:
        self._seen: dict[int, Any] = {}
        self._restores: list[Restore] = []
        for module in modules:
            self._keep_modules(module)
        if function is not None:
            self._keep_function(function)
        self._states = generator_states()

    def restore(self) -> None:
        """Put everything back."""
        for restore in self._restores:
            restore()
        _set_generators(self._states)

    def _keep_function(self, function: Callable[..., Any]) -> None:
        if isinstance(function, partial):
            for bound in (*function.args, *function.keywords.values()):
                self._keep_modules(bound)
        for place, value in places(function):
            if isinstance(value, nn.Module):
                self._keep_modules(value)
            elif place.name == "self":
                self._keep(getattr(value, "__dict__", None), _DEPTH)
            else:
                self._restores.append(partial(_put_back, place, value))
                if not isinstance(value, Tensor) or value.numel() <= _SMALL:
                    self._keep(value, 0)

    def _keep_modules(self, module: Any) -> None:
        for part in module.modules() if isinstance(module, nn.Module) else ():
            self._keep_module(part)

    def _keep_module(self, module: nn.Module) -> None:
        if id(module) in self._seen:
            return
        self._seen[id(module)] = module
        for buffer in module._buffers.values():
            self._keep(buffer, 1)
        parts: tuple[dict[str, Any], ...] = module._buffers, module._parameters, module._modules
        tables, traced = [(part, dict(part)) for part in parts], isinstance(module, fx.GraphModule)
        own = {n: v for n, v in vars(module).items() if n not in _OF_EVERY_MODULE}
        if traced:  # its graph cannot change
            own = {"training": module.training}
        for value in own.values():
            self._keep(value, _DEPTH)

        def restore() -> None:
            for part, before in tables:
                _refill(part, before)
            if not traced:
                for name in vars(module).keys() - own.keys() - _OF_EVERY_MODULE:
                    del vars(module)[name]
            vars(module).update(own)

        self._restores.append(restore)

    def _keep(self, value: Any, depth: int) -> None:
        """Remember what is in a value that may change in place."""
        if depth < 0 or id(value) in self._seen or isinstance(value, nn.Parameter | type):
            return
        restore = _kept_inside(value)
        inside: Iterable[Any] = ()
        if isinstance(value, dict):
            inside = value.values()
        elif isinstance(value, list | tuple | set | deque):
            inside = value
        elif restore is None and _plain_object(value):
            inside, restore = list(vars(value).values()), _restores_vars(value)
        if restore is not None:
            self._seen[id(value)] = value
            self._restores.append(restore)
        if not isinstance(value, Tensor):
            for item in inside:
                self._keep(item, depth - 1)


@contextmanager
def untouched(module: nn.Module) -> Iterator[list[str]]:
    """Undo at the end what the block does to a module, and to all random generators.

    Yields:
        A list; at the end, the names of the buffers that had changed.
    """
    buffers = {name: (b, b.detach().clone()) for name, b in module.named_buffers()}
    kept, changed = Snapshot([module]), list[str]()
    try:
        yield changed
    finally:
        now = dict(module.named_buffers())
        changed += [
            name
            for name, (buffer, before) in buffers.items()
            if now.get(name) is not buffer or not _same(buffer, before)
        ]
        kept.restore()


def generator_states() -> dict[str, Any]:
    """The states of the global generators of torch, NumPy and Python."""
    states = {"torch": torch.get_rng_state(), "python": random.getstate()}
    states["numpy"] = np.random.get_state()  # what models draw from
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def drawn(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The generators whose states differ."""
    return {name for name in before if not _same(before[name], after[name])}


def seeded(seed: int) -> None:
    """Seed all global generators."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed itself costs far more
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed)


@contextmanager
def gradients_kept(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside the block there are no gradients, nor hooks that look at them or take steps."""
    parameters = list(parameters)
    kept = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        with hooks_held(parameters):
            yield
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, list | tuple):
        return all(map(_same, a, b))
    return bool(a == b)


def _set_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])


def _kept_inside(value: Any) -> Restore | None:
    """How to put back what is in a value now, if it is of a kind that changes in place."""
    if isinstance(value, Tensor):
        if value.is_meta:
            return None
        return partial(_put_back_tensor, value, value.detach(), value.detach().clone())
    if isinstance(value, np.ndarray):
        array = value.copy()
        return lambda: np.copyto(value, array)
    if isinstance(value, list | deque | set | dict):
        items = value.copy()
        return lambda: _refill(value, items)
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    for kind, read, write in _GENERATORS:
        if isinstance(value, kind):
            return partial(write, value, read(value))
    return None


_GENERATORS: list[tuple[type, Callable[[Any], Any], Callable[[Any, Any], object]]] = [
    (torch.Generator, lambda g: g.get_state(), lambda g, state: g.set_state(state)),
    (random.Random, lambda g: g.getstate(), lambda g, state: g.setstate(state)),
    (np.random.RandomState, lambda g: g.get_state(), lambda g, state: g.set_state(state)),
    (np.random.BitGenerator, lambda g: g.state, lambda g, state: setattr(g, "state", state)),
]


def _put_back(place: Place, value: Any) -> None:
    if place.read() is not value:
        place.write(value)


def _put_back_tensor(tensor: Tensor, data: Tensor, content: Tensor) -> None:
    tensor.data = data  # which may have been replaced, or have another shape
    if data.layout != torch.strided or not torch.equal(data, content):
        data.copy_(content)


def _refill(value: Any, items: Any) -> None:
    value.clear()
    if isinstance(value, list | deque):
        value.extend(items)
    else:
        value.update(items)


def _plain_object(value: Any) -> bool:
    own = type(value).__module__.partition(".")[0] not in ("torch", "numpy", "builtins")
    return (
        own
        and hasattr(value, "__dict__")
        and not isinstance(value, nn.Module)
        and not callable(value)
    )


def _restores_vars(value: Any) -> Restore:
    fields = dict(vars(value))

    def restore() -> None:
        vars(value).clear()
        vars(value).update(fields)

    return restore
