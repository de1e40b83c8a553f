"""Errors of a user's code, in one line that names the user's own file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pprs._user_line import user_line


class Missing(Exception):
    """A module or file that is not there; the message is the whole sentence."""


@contextmanager
def user_code(said: str) -> Iterator[None]:
    """Turn an error of a user's code in the block into a `ValueError` that begins with `said`.

    `sys.exit` fails too: otherwise the command would end as if all were well.
    """
    try:
        yield
    except (KeyboardInterrupt, Missing):
        raise
    except BaseException as error:
        raise ValueError(f"{said}: {in_one_line(error)}") from error


def in_one_line(error: BaseException) -> str:
    """An error in one line, with the place in the user's code that led to it."""
    try:
        said = (str(error).strip() or "no message").partition("\n")[0]
    except Exception:  # a user's own exception
        said = "its message cannot be shown"
    place = user_line(error)
    shown = f" ({place})" if place and place not in said else ""
    return f"{type(error).__name__}: {said}{shown}"


def check_signature(
    what: str,
    function: Callable[..., Any],
    arguments: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
    *,
    called: str,
) -> None:
    """Raise `ValueError` if a function cannot be called with some arguments.

    Args:
        what: name of the function, for the error.
        function: the user's; of one whose signature Python does not know nothing is said.
        arguments: by position.
        options: by name.
        called: the arguments, in words.
    """
    try:
        signature = inspect.signature(function)
    except Exception:  # a user's own callable
        return
    try:
        signature.bind(*arguments, **(options or {}))
    except TypeError as error:
        parameters = ", ".join(map(str, signature.parameters)) or "nothing"
        raise ValueError(
            f"{what} must take {called}, but it takes {parameters}{_defined(function)}: {error}"
        ) from None


def _defined(function: Callable[..., Any]) -> str:
    plain = function.__func__ if inspect.ismethod(function) else function
    if not inspect.isfunction(plain):
        return ""
    code = plain.__code__
    return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})"
