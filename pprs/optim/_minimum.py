"""What a run of `minimize` gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import torch
from torch import Tensor

from pprs.optim._layout import Tree


@dataclass(frozen=True)
class Step:
    r"""What a step did.

    Args:
        time: pipeline time at its end.
        smoothed: mean loss of the points whose gradients it took.
        loss: the function at its answer, $y_t$.
        sigma: standard deviation of the perturbations; 0 for methods without.
        lr: step size; `nan` for methods that have none of their own.
        samples: number K of perturbations; 1 for methods without.

    Example:
        >>> import pprs
        >>> found = pprs.minimize(
        ...     lambda x: x.abs().max(), torch.ones(2), depth=10, steps=3, seed=0, radius=1.0
        ... )
        >>> found.history[0].samples, found.history[0].time
        (6, 32.0)
    """

    time: float
    smoothed: float
    loss: float
    sigma: float
    lr: float
    samples: int


@dataclass(frozen=True)
class Minimum:
    r"""What `minimize` found.

    Args:
        x: the best answer, in the structure and the types of `x0`.
        fun: the function there.
        success: whether `fun` is known to be low enough: at most the `target` that was given; if
            none was, at most `epsilon` above the minimum by `bound`. A run that ends by its steps,
            its time or the callback without that has no success, however low `fun` is.
        message: how it ended, in a sentence.
        nit: number of steps T.
        time: pipeline time.
        ngrad: number of gradients, K a step.
        bound: the most that `fun` is above the minimum: by `lower`, or by the theory where the
            function is said to be convex (for `pprs` and `duchi` in expectation, for a number of
            steps that is set before); `None` where neither says it.
        history: what each step did.

    Example:
        >>> import pprs
        >>> found = pprs.minimize(
        ...     lambda x: x.abs().max(), torch.ones(2), depth=10, lower=0, epsilon=0.1, seed=0
        ... )
        >>> found.success, found.fun <= 0.1, len(found.history) == found.nit
        (True, True, True)
    """

    x: Tree
    fun: float
    success: bool
    message: str
    nit: int
    time: float
    ngrad: int
    bound: float | None
    history: tuple[Step, ...] = field(repr=False)


@dataclass(frozen=True)
class Minima(Sequence[Minimum]):
    """What `minimize` found from B starts: a sequence of the `Minimum` of each, and their fields.

    Args:
        x: the best answers, as `x0` is.
        fun: the function there, shape `(B,)`, as all other tensors.
        success: as in `Minimum`.
        message: of each start.
        nit: as in `Minimum`.
        time: pipeline time of each start's run, had it been the only one.
        ngrad: as in `Minimum`.
        bound: as in `Minimum`; `None` unless all starts have one.
        history: of each start.

    Example:
        >>> import pprs
        >>> x0 = torch.zeros(2, 3)
        >>> found = pprs.minimize(
        ...     lambda x: (x - 1).abs().max(), x0, batched=True, depth=10, steps=5, seed=0
        ... )
        >>> found.fun.shape, found[1].nit
        (torch.Size([2]), 5)
    """

    x: Tree
    fun: Tensor
    success: Tensor
    message: tuple[str, ...]
    nit: Tensor
    time: Tensor
    ngrad: Tensor
    bound: Tensor | None
    history: tuple[tuple[Step, ...], ...] = field(repr=False)
    _each: tuple[Minimum, ...] = field(repr=False)

    @classmethod
    def of(cls, each: Sequence[Minimum], x: Tree) -> Minima:
        """What was found from each start, and all answers as one x."""
        bounds = [m.bound for m in each if m.bound is not None]
        return cls(
            x=x,
            fun=torch.tensor([m.fun for m in each], dtype=torch.float64),
            success=torch.tensor([m.success for m in each]),
            message=tuple(m.message for m in each),
            nit=torch.tensor([m.nit for m in each]),
            time=torch.tensor([m.time for m in each], dtype=torch.float64),
            ngrad=torch.tensor([m.ngrad for m in each]),
            bound=torch.tensor(bounds, dtype=torch.float64) if len(bounds) == len(each) else None,
            history=tuple(m.history for m in each),
            _each=tuple(each),
        )

    def __len__(self) -> int:
        return len(self._each)

    @overload
    def __getitem__(self, index: int) -> Minimum: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Minimum, ...]: ...
    def __getitem__(self, index: int | slice) -> Minimum | tuple[Minimum, ...]:
        return self._each[index]
