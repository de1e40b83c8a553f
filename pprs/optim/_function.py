"""A function of tensors as the objective of the pipeline model."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pprs.optim._layout import Layout
from pprs.theory.objective import Array


@dataclass
class _Evaluated:
    """What a function was last evaluated at; the graph is kept until its backward pass."""

    points: Array
    values: Array
    leaves: Sequence[Tensor] = ()
    losses: Tensor = field(default_factory=lambda: torch.zeros(()))


class Function:
    """A function as the one node of an objective: all points of a step run under `torch.vmap`.

    A `Component` of the theory's objectives. With several starts, points are `(..., B, d)`.

    Args:
        fun: takes `x` in the structure of `x0`, and `args`; returns a scalar tensor.
        layout: of `x0`.
        args: more arguments; with several starts, tensors whose first axis goes over these.

    Raises:
        RuntimeError: for a function that does not run at `x0`; by its passes for one that vmap
            cannot run, a value that is not finite or has no gradient by x.
        TypeError: for a value that is no scalar tensor, or `args` that are not one of each start.
    """

    def __init__(
        self, fun: Callable[..., Tensor], layout: Layout, args: Sequence[Any] = ()
    ) -> None:
        if not isinstance(args, tuple | list):
            raise TypeError(f"args must be a tuple, got {type(args).__name__}")
        self._fun, self._layout = fun, layout
        self._all_args = self._args = tuple(args)
        self._active: npt.NDArray[np.intp] | None = None
        self._last: _Evaluated | None = None
        if layout.starts is not None:
            _check_args(args, layout.starts)
        with torch.enable_grad():
            leaves = [t.requires_grad_() for t in layout.tensors(layout.start)]
            if layout.starts is None:
                self._first(leaves, self._args)
            else:
                self._first([t[0] for t in leaves], [a[0] for a in args])

    def keep(self, active: npt.NDArray[np.intp]) -> None:
        """Evaluate only these starts from now on: all of the others' numbers are `nan`."""
        self._active, self._last = active, None
        self._args = tuple(arg[torch.from_numpy(active).to(arg.device)] for arg in self._all_args)

    def forward(self, *inputs: Array, example: int) -> Array:
        """The losses at points `(..., d)`, shape `(..., 1)`; those of the last call are kept."""
        return self._at(inputs[0]).values[..., None]

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        """The gradients at points `(..., d)`, times that of the losses."""
        points = inputs[0]
        last = self._at(points, graph=True)
        weights = torch.from_numpy(self._chosen(gradient)[..., 0]).to(last.losses)
        found = torch.autograd.grad(
            last.losses, last.leaves, weights.reshape(last.losses.shape), allow_unused=True
        )
        self._last = _Evaluated(points, last.values)  # whose graph is used up
        pairs = zip(found, last.leaves, strict=True)
        tensors = [torch.zeros_like(x) if g is None else g for g, x in pairs]
        if not all(_is_finite(tensor) for tensor in tensors):
            raise RuntimeError(
                "fun has a gradient that is not finite, as a root has at 0: make it one that has "
                "gradients wherever it is evaluated"
            )
        return (self._spread(self._layout.vector(tensors), points.shape, -2),)

    def _at(self, points: Array, graph: bool = False) -> _Evaluated:
        last = self._last
        if last is None or last.points is not points or (graph and not last.leaves):
            last = self._last = self._evaluated(points)
        return last

    def _evaluated(self, points: Array) -> _Evaluated:
        chosen = self._chosen(points)
        lanes = chosen.reshape(-1, *chosen.shape[-1 if self._layout.starts is None else -2 :])
        leaves = [t.requires_grad_() for t in self._layout.tensors(lanes)]
        with torch.enable_grad():
            try:
                losses = self._lanes()(leaves, self._args)
            except RuntimeError as error:
                raise RuntimeError(
                    f"fun must run under torch.vmap, which evaluates it at {lanes[..., 0].size} "
                    f"points at once, but does not: {str(error).strip().splitlines()[0]}"
                ) from error
        if not losses.requires_grad:
            raise RuntimeError(
                "fun has no gradient by x: its value must depend on x by differentiable operations"
            )
        values: Array = losses.detach().cpu().to(torch.float64).numpy()
        if not np.isfinite(values).all():
            raise RuntimeError(
                f"fun must be finite wherever it is evaluated, got {self._odd(values)}: it may be "
                f"unbounded, or the steps too large"
            )
        return _Evaluated(points, self._spread(values, points.shape[:-1], -1), leaves, losses)

    def _lanes(self) -> Callable[..., Tensor]:
        """The function at all points of every start."""
        points = torch.vmap(self._lane, in_dims=(0, None))
        if self._layout.starts is None:
            return points
        return torch.vmap(points, in_dims=(1, 0 if self._args else None), out_dims=1)

    def _first(self, tensors: Sequence[Tensor], args: Sequence[Any]) -> None:
        """Once at `x0` as it is, where errors are plainer than under vmap."""
        try:
            loss = self._fun(self._layout.tree(tensors), *args)
        except (RuntimeError, TypeError) as error:
            kind = RuntimeError if isinstance(error, RuntimeError) else TypeError
            raise kind(_why(error, tensors)) from error
        _check_scalar(loss)

    def _lane(self, tensors: Sequence[Tensor], args: Sequence[Any]) -> Tensor:
        loss = self._fun(self._layout.tree(tensors), *args)
        _check_scalar(loss)
        return loss

    def _chosen(self, points: Array) -> Array:
        return points if self._active is None else points[..., self._active, :]

    def _spread(self, found: Array, shape: tuple[int, ...], axis: int) -> Array:
        """What was found at the active starts, as that of all, which lie along the axis."""
        if self._active is None:
            return found.reshape(shape)
        spread = np.full(shape, np.nan)
        among = np.moveaxis(spread, axis, 0)
        among[self._active] = np.moveaxis(
            found.reshape(spread.take(self._active, axis).shape), axis, 0
        )
        return spread

    def _odd(self, values: Array) -> str:
        """The first value that is not finite, and of which start."""
        where = tuple(np.argwhere(~np.isfinite(values))[0])
        if self._layout.starts is None:
            return f"{values[where]}"
        start = where[1] if self._active is None else self._active[where[1]]
        return f"{values[where]} at start {start}"


def _is_finite(tensor: Tensor) -> bool:
    """By the sum, which is fast, unless this is not finite."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _why(error: Exception, tensors: Sequence[Tensor]) -> str:
    """Why a function does not run at `x0`, and what to do."""
    said = str(error).strip().partition("\n")[0]
    frames = traceback.walk_tb(error.__traceback__)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in frames]
    if "numpy" in said or any(module.split(".")[0] == "numpy" for module in modules):
        return (
            "fun must be made of torch operations, which have gradients, but calls numpy on x: "
            "write torch.abs for numpy.abs, and so on"
        )
    if re.search("dtype|scalar type|Input type", said):
        types = ", ".join(sorted({str(tensor.dtype) for tensor in tensors}))
        return (
            f"fun must run in the type of x0, {types}, but uses data of another: convert one of "
            f"them, as by x0.double() ({said})"
        )
    return f"fun must run at x0, but does not: {said}"


def _check_scalar(loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"fun must return a scalar tensor, got {type(loss).__name__}: make it of torch "
            f"operations on x"
        )
    if loss.ndim:
        raise TypeError(f"fun must return a scalar tensor, got shape {tuple(loss.shape)}")
    if not loss.is_floating_point():
        raise TypeError(f"fun must return a floating-point number, got {loss.dtype}")


def _check_args(args: Sequence[Any], starts: int) -> None:
    for index, arg in enumerate(args):
        is_tensor = isinstance(arg, Tensor)
        if not (is_tensor and arg.ndim and len(arg) == starts):
            got = f"shape {tuple(arg.shape)}" if is_tensor else type(arg).__name__
            raise TypeError(
                f"args[{index}] must be a tensor whose first axis goes over the {starts} starts, "
                f"got {got}: what all starts share belongs in fun"
            )
