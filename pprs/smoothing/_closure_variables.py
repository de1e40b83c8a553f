"""What a closure refers to: there, too, a pass may leave something."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

_OTHERS = ("torch", "pprs", "numpy", "builtins")  # whose functions and classes leave nothing


class Place(NamedTuple):
    """A variable that a function refers to.

    Args:
        name: of the variable.
        holder: the cell, the dictionary by names, or the class, that holds its value.
        names: attributes and keys that the function names, of this or another variable.
    """

    name: str
    holder: CellType | dict[str, Any] | type
    names: tuple[str, ...] = ()

    def read(self) -> Any:
        """Its value."""
        holder = self.holder
        if isinstance(holder, dict):
            return holder[self.name]
        return vars(holder)[self.name] if isinstance(holder, type) else holder.cell_contents

    def write(self, value: Any) -> None:
        """Set it."""
        if isinstance(self.holder, dict):
            self.holder[self.name] = value
        elif isinstance(self.holder, type):
            setattr(self.holder, self.name, value)
        else:
            self.holder.cell_contents = value


def places(function: Callable[..., Any], depth: int = 2) -> Iterator[tuple[Place, Any]]:
    """The variables of a function, and of the functions that it calls by name, with their values.

    Attributes of these functions, and of the classes that they name, are variables too. Methods
    that it calls on objects are not followed.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if _of_others(function):
        return
    owner = getattr(function, "__self__", None)
    if not isinstance(function, FunctionType | MethodType):  # an object with __call__
        owner, function = function, type(function).__call__
    function = getattr(function, "__func__", function)
    if owner is not None:
        names = _parts(function.__code__) if isinstance(function, FunctionType) else ()
        yield Place("self", {"self": owner}, names), owner
    for place, value in _variables(function) if isinstance(function, FunctionType) else ():
        if isinstance(value, type):
            yield from _attributes(value)
        elif not isinstance(value, FunctionType | MethodType | functools.partial):
            yield place, value
        elif depth:
            yield from places(value, depth - 1)


def _attributes(kind: type) -> Iterator[tuple[Place, Any]]:
    for name, value in () if _of_others(kind) else list(vars(kind).items()):
        if not name.startswith("__") and not hasattr(type(value), "__get__"):  # no method
            yield Place(name, kind), value


def _of_others(function: Callable[..., Any]) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] in _OTHERS


def _variables(function: FunctionType) -> Iterator[tuple[Place, Any]]:
    attributes = vars(function)
    yield from ((Place(name, attributes), attributes[name]) for name in list(attributes))
    parts = _parts(function.__code__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        yield Place(name, cell, parts), value
    scope = function.__globals__
    for name in _names(function.__code__):
        if name in scope:
            yield Place(name, scope, parts), scope[name]


@functools.lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[str, ...]:
    """Names that may be global variables, also of the functions written inside."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for names in inner for name in names)]))


@functools.lru_cache(maxsize=1024)
def _parts(code: CodeType) -> tuple[str, ...]:
    """Names that may be attributes or keys: words in the code, too."""
    return *_names(code), *(word for word in code.co_consts if isinstance(word, str))
