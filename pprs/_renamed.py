"""Public names that have changed: the old ones work for a version, with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that knows old names.

    Args:
        module: its name.
        names: from the old names to the present ones.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is now called {names[name]}: use that", FutureWarning, stacklevel=2
        )
        return getattr(sys.modules[module], names[name])

    return find
