"""How the tensors of `x0` lie in one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pprs.theory.objective import Array

Tree: TypeAlias = Any
"""A tensor, or a dictionary or tuple of tensors."""


class Layout:
    """Between tensors like those of `x0` and vectors of float64 in the computer's memory.

    Args:
        x0: a tensor, or a dictionary or tuple of tensors, all of floating-point numbers.
        batched: whether the first axis of each goes over starts.

    Raises:
        TypeError: for anything else.
        ValueError: for no numbers at all, some that are not finite, several devices, or tensors
            that do not have the same starts.
    """

    def __init__(self, x0: Tree, batched: bool = False) -> None:
        names = _names(x0)
        _check(names)
        self._like = [tensor.detach() for tensor in names.values()]
        self._keys = list(x0) if isinstance(x0, dict) else None
        self._single = isinstance(x0, Tensor)
        if not sum(tensor.numel() for tensor in self._like):
            raise ValueError("x0 must hold at least one number, got none")
        self.starts = _starts(names) if batched else None
        self._shapes = [tensor.shape[int(batched) :] for tensor in self._like]
        self._ends = np.cumsum([shape.numel() for shape in self._shapes]).tolist()

    @property
    def start(self) -> Array:
        """`x0` as a vector `(d,)`, or as one `(B, d)` of each start."""
        return self.vector(self._like).astype(np.float64)

    def vector(self, tensors: Sequence[Tensor]) -> Array:
        """Tensors as one vector; leading dimensions stay.

        It is left in float32 where nothing is more precise: twice as much memory for all gradients
        of a step takes longer than all that is done with them.
        """
        leading = tensors[0].shape[: tensors[0].ndim - len(self._shapes[0])]
        flat = [t.detach().cpu().reshape(*leading, -1) for t in tensors]
        joined = flat[0] if len(flat) == 1 else torch.cat(flat, -1)
        found: Array = (joined.float() if joined.itemsize < 4 else joined).numpy()
        return found

    def tensors(self, points: Array) -> list[Tensor]:
        """Tensors shaped and typed as those of `x0`, with the leading dimensions of points.

        They may share the memory of the points.
        """
        parts = np.split(points, self._ends[:-1], axis=-1) if len(self._ends) > 1 else [points]
        return [
            torch.from_numpy(part)
            .to(like.dtype)
            .to(like.device)
            .reshape((*part.shape[:-1], *shape))
            for part, like, shape in zip(parts, self._like, self._shapes, strict=True)
        ]

    def tree(self, tensors: Sequence[Tensor]) -> Tree:
        """Tensors in the structure of `x0`."""
        if self._single:
            return tensors[0]
        return tuple(tensors) if self._keys is None else dict(zip(self._keys, tensors, strict=True))

    def shown(self, point: Array) -> Tree:
        """A copy of a point, in the structure of `x0`."""
        return self.tree(self.tensors(point.copy()))


def _names(x0: Tree) -> dict[str, Any]:
    if isinstance(x0, dict):
        return {f"x0[{key!r}]": tensor for key, tensor in x0.items()}
    if isinstance(x0, tuple):
        return {f"x0[{index}]": tensor for index, tensor in enumerate(x0)}
    return {"x0": x0}


def _check(names: dict[str, Any]) -> None:
    for name, tensor in names.items():
        if not (isinstance(tensor, Tensor) and tensor.is_floating_point()):
            got = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"{name} must be a tensor of floating-point numbers, got {got}")
    devices = sorted({str(tensor.device) for tensor in names.values()})
    if len(devices) > 1:
        raise ValueError(f"x0 must lie on one device, got {' and '.join(devices)}")
    for name, tensor in names.items():
        if tensor.is_meta or tensor.layout != torch.strided:
            got = "the meta device" if tensor.is_meta else str(tensor.layout)
            raise TypeError(f"{name} must be a dense tensor that holds numbers, got {got}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} must have finite numbers only")


def _starts(names: dict[str, Tensor]) -> int:
    """How many starts there are."""
    counts: dict[int, str] = {}
    for name, tensor in names.items():
        if not tensor.ndim:
            raise ValueError(
                f"{name} must have a first axis of starts for batched=True, got shape ()"
            )
        counts.setdefault(len(tensor), name)
    if len(counts) > 1:
        got = " and ".join(f"{count} in {name}" for count, name in counts.items())
        raise ValueError(f"x0 must have the same starts in all tensors, got {got}")
    return next(iter(counts))
