"""What a closure refers to: there, too, a pass may leave something."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

_OTHERS = ("torch", "pprs")  # whose functions leave nothing


class Place(NamedTuple):
    """A variable that a function refers to.

    Args:
        name: of the variable.
        read: gives its value.
        write: sets it.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


def places(function: Callable[..., Any], depth: int = 2) -> Iterator[Place]:
    """The variables of a function, and of the functions that it calls by name.

    Methods that it calls on objects are not followed.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if _of_others(function):
        return
    owner = getattr(function, "__self__", None)
    if not isinstance(function, FunctionType | MethodType):  # an object with __call__
        owner, function = function, type(function).__call__
    if owner is not None:
        yield Place("self", lambda: owner, lambda value: None)
    function = getattr(function, "__func__", function)
    for place in _variables(function) if isinstance(function, FunctionType) else ():
        value = place.read()
        if not isinstance(value, FunctionType | MethodType | functools.partial):
            yield place
        elif depth:
            yield from places(value, depth - 1)


def _of_others(function: Callable[..., Any]) -> bool:
    return str(getattr(function, "__module__", "")).startswith(_OTHERS)


def _variables(function: FunctionType) -> Iterator[Place]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            cell.cell_contents  # noqa: B018
        except ValueError:  # not set yet
            continue
        yield Place(name, functools.partial(getattr, cell, "cell_contents"), _writer(cell))
    scope = function.__globals__
    for name in _names(function.__code__):
        if name in scope:
            write = functools.partial(scope.__setitem__, name)
            yield Place(name, functools.partial(scope.__getitem__, name), write)


def _writer(cell: Any) -> Callable[[Any], None]:
    return functools.partial(setattr, cell, "cell_contents")


@functools.lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[str, ...]:
    """Names that may be global variables, also of the functions written inside."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for names in inner for name in names)]))
