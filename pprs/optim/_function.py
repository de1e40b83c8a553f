"""A function of tensors as the objective of the pipeline model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pprs.theory.objective import Array

Tree: TypeAlias = Any
"""A tensor, or a dictionary or tuple of tensors."""


class Layout:
    """How the tensors of `x0` lie in one vector.

    Args:
        x0: a tensor, or a dictionary or tuple of tensors, all of floating-point numbers.

    Raises:
        TypeError: for anything else.
        ValueError: for no numbers at all, or some that are not finite.
    """

    def __init__(self, x0: Tree) -> None:
        names = _names(x0)
        for name, tensor in names.items():
            if not (isinstance(tensor, Tensor) and tensor.is_floating_point()):
                got = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
                raise TypeError(f"{name} must be a tensor of floating-point numbers, got {got}")
            if not tensor.isfinite().all():
                raise ValueError(f"{name} must have finite numbers only")
        self._like = [tensor.detach() for tensor in names.values()]
        self._keys = list(x0) if isinstance(x0, dict) else None
        self._single = isinstance(x0, Tensor)
        self._ends = np.cumsum([tensor.numel() for tensor in self._like]).tolist()
        if not self._ends or not self._ends[-1]:
            raise ValueError("x0 must hold at least one number, got none")

    def vector(self, tensors: Sequence[Tensor]) -> Array:
        """Tensors as one float64 vector; with a leading dimension of K, as K of them."""
        leading = tensors[0].shape[: tensors[0].ndim - self._like[0].ndim]
        flat = [t.detach().to("cpu", torch.float64).reshape(*leading, -1) for t in tensors]
        joined: Array = torch.cat(flat, -1).numpy()
        return joined

    @property
    def start(self) -> Array:
        """`x0` as a vector."""
        return self.vector(self._like)

    def tensors(self, points: Array) -> list[Tensor]:
        """New tensors, shaped and typed as those of `x0`, with the leading dimensions of points."""
        parts = np.split(points, self._ends[:-1], axis=-1)
        shapes = [(*points.shape[:-1], *like.shape) for like in self._like]
        return [
            torch.tensor(part, dtype=like.dtype, device=like.device).reshape(shape)
            for part, like, shape in zip(parts, self._like, shapes, strict=True)
        ]

    def tree(self, tensors: Sequence[Tensor]) -> Tree:
        """Tensors in the structure of `x0`."""
        if self._single:
            return tensors[0]
        return tuple(tensors) if self._keys is None else dict(zip(self._keys, tensors, strict=True))


@dataclass
class _Evaluated:
    """What a function was last evaluated at; the graph is kept until its backward pass."""

    points: Array
    values: Array
    leaves: Sequence[Tensor] = ()
    losses: Tensor = field(default_factory=lambda: torch.zeros(()))


class Function:
    """A function as the one node of an objective: all points of a step run under `torch.vmap`.

    A `Component` of the theory's objectives.

    Args:
        fun: takes `x` in the structure of `x0`, and returns a scalar tensor.
        layout: of `x0`.

    Raises:
        RuntimeError: by its passes: for a function that vmap cannot run, a value that is not finite
            or has no gradient by x.
        TypeError: for a value that is no scalar tensor.
    """

    def __init__(self, fun: Callable[[Tree], Tensor], layout: Layout) -> None:
        self._fun, self._layout = fun, layout
        self._last: _Evaluated | None = None
        with torch.enable_grad():
            leaves = [t.requires_grad_() for t in layout.tensors(layout.start)]
            _check_scalar(fun(layout.tree(leaves)))

    def forward(self, *inputs: Array, example: int) -> Array:
        """The losses at points `(..., d)`, shape `(..., 1)`; those of the last call are kept."""
        points = inputs[0]
        last = self._at(points)
        return last.values.reshape(*points.shape[:-1], 1)

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        """The gradients at points `(..., d)`, times that of the losses."""
        points = inputs[0]
        last = self._at(points, graph=True)
        found = torch.autograd.grad(last.losses.sum(), last.leaves, allow_unused=True)
        pairs = zip(found, last.leaves, strict=True)
        gradients = self._layout.vector([torch.zeros_like(x) if g is None else g for g, x in pairs])
        if not np.isfinite(gradients).all():
            raise RuntimeError(
                "fun has a gradient that is not finite, as a root has at 0: make it one that has "
                "gradients wherever it is evaluated"
            )
        self._last = _Evaluated(points, last.values)  # whose graph is used up
        return (gradient * gradients.reshape(points.shape),)

    def _at(self, points: Array, graph: bool = False) -> _Evaluated:
        last = self._last
        if last is None or not np.array_equal(last.points, points) or (graph and not last.leaves):
            last = self._last = self._evaluated(points)
        return last

    def _evaluated(self, points: Array) -> _Evaluated:
        rows = points.reshape(-1, points.shape[-1])
        leaves = [t.requires_grad_() for t in self._layout.tensors(rows)]
        with torch.enable_grad():
            try:
                losses = torch.vmap(self._lane)(*leaves)
            except RuntimeError as error:
                raise RuntimeError(
                    f"fun must run under torch.vmap, which evaluates it at {len(rows)} points at "
                    f"once, but does not: {str(error).strip().splitlines()[0]}"
                ) from error
        if not losses.requires_grad:
            raise RuntimeError(
                "fun has no gradient by x: its value must depend on x by differentiable operations"
            )
        values: Array = losses.detach().to("cpu", torch.float64).numpy()
        if not np.isfinite(values).all():
            odd = values[~np.isfinite(values)][0]
            raise RuntimeError(
                f"fun must be finite wherever it is evaluated, got {odd}: it may be unbounded, or "
                f"the steps too large"
            )
        return _Evaluated(points, values, leaves, losses)

    def _lane(self, *tensors: Tensor) -> Tensor:
        return _check_scalar(self._fun(self._layout.tree(tensors)))


def _names(x0: Tree) -> dict[str, Any]:
    if isinstance(x0, dict):
        return {f"x0[{key!r}]": tensor for key, tensor in x0.items()}
    if isinstance(x0, tuple):
        return {f"x0[{index}]": tensor for index, tensor in enumerate(x0)}
    return {"x0": x0}


def _check_scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(f"fun must return a scalar tensor, got {type(loss).__name__}")
    if loss.ndim:
        raise TypeError(f"fun must return a scalar tensor, got shape {tuple(loss.shape)}")
    if not loss.is_floating_point():
        raise TypeError(f"fun must return a floating-point number, got {loss.dtype}")
    return loss
