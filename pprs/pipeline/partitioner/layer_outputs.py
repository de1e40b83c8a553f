"""The values between layers: tensors side by side, or a description of anything else."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn


def side_by_side(output: Any) -> tuple[Tensor, ...] | None:
    """The tensors of a tensor, or of a tuple of several; `None` if it is anything else."""
    parts = output if type(output) is tuple and len(output) > 1 else (output,)
    return parts if all(isinstance(part, Tensor) for part in parts) else None


def called(piece: nn.Module, value: Any) -> Any:
    """Call a piece with the output of the one before it: a tuple is several arguments.

    A layer of an `nn.Sequential` takes it as one, as it does there.
    """
    one = isinstance(piece, fx.GraphModule) and piece.meta.get("takes") == "one"
    return piece(*value) if isinstance(value, tuple) and not one else piece(value)


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
