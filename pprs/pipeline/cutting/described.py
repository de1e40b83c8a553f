"""Words for what a model gives."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def described(output: Any) -> str:
    """The kinds of a value and its parts."""
    if isinstance(output, tuple | list):
        parts = ", ".join(described(part) for part in output) or "nothing"
        return f"a {type(output).__name__} of ({parts})"
    if isinstance(output, dict):
        return f"a dict with {', '.join(map(repr, output)) or 'nothing'}"
    if isinstance(output, Tensor):
        return "a tensor"
    return "None" if output is None else f"a {type(output).__name__}"
