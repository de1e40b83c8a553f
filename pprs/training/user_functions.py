"""A user's functions, by name."""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pprs._arguments import meant
from pprs.training.user_errors import Missing, check_signature, user_code

_MANY = 9  # names, and an error does not give them all


def named(what: str, name: str) -> Callable[..., Any]:
    """Import a function.

    Args:
        what: the setting that names it, for errors.
        name: `package.module:function`, found in the current folder, too, or
            `file.py:function`.

    Raises:
        ValueError: if it is not there, or its module cannot be imported.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise ValueError(
            f"{what} must be package.module:function or file.py:function, got {name!r}"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        with user_code(f"{what}={name}: importing {place} failed"):
            module = _file(Path(place).resolve()) if place.endswith(".py") else _module(place)
    except Missing as error:
        raise ValueError(f"{what}={name}: {error}") from None
    with user_code(f"{what}={name}: {place} failed to give {attribute!r}"):
        function = getattr(module, attribute, None)
    if function is None:
        hint = meant(attribute, dir(module)) or _own_functions(module)
        raise ValueError(f"{what}={name}: {place} has no {attribute!r}{hint}")
    if isinstance(function, torch.nn.Module):
        raise ValueError(
            f"{what}={name} must be a function that returns one, but is a model itself: lambda: "
            f"{attribute} under another name will do"
        )
    if not callable(function):
        raise ValueError(
            f"{what}={name} must be a function, but is of type {type(function).__name__}"
        )
    found: Callable[..., Any] = function
    return found


def called(what: str, name: str, seed: int) -> Any:
    """What a user's function of no arguments returns, random numbers seeded before.

    Raises:
        ValueError: if there is no such function, or it fails.
    """
    function = named(what, name)
    check_signature(f"{what}={name}", function, called="no arguments")
    seed_all(seed)
    with user_code(f"{what}={name} failed"):
        return function()


def seed_all(seed: int) -> None:
    """Seed the generators that a user's code may draw from."""
    torch.manual_seed(seed % 2**64)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, but not what it imports
        raise Missing(
            f"there is no module {error.name!r} in the current folder, nor where Python looks"
            f"{_nearest(error.name)}"
        ) from None


@cache
def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Missing(f"there is no file {path}{_nearest(path.name, path.parent)}")
    # Under a name of its own: a user's random.py must not take the place of Python's.
    name = f"pprs_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _own_functions(module: ModuleType) -> str:
    """The end of a message about an unknown name: what the module defines itself."""
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    return f", only {', '.join(own)}" if 0 < len(own) <= _MANY else ""


def _nearest(name: str, folder: Path | None = None) -> str:
    """What a name of a file, or of a module of the current folder, may have been meant to be."""
    with suppress(OSError):  # a folder that is not there, or may not be read
        files = [f.name for f in (folder or Path()).iterdir() if f.suffix == ".py" or f.is_dir()]
        names = files if folder else [file.removesuffix(".py") for file in files]
        return meant(name, names)
    return ""
