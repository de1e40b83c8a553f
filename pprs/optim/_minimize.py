"""Minimise a function of tensors: what scipy's `minimize` is, in pipeline time."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeGuard, overload

from torch import Tensor

from pprs._arguments import counts, positive, real
from pprs.optim._function import Function
from pprs.optim._guarantees import gap_after
from pprs.optim._known import Known
from pprs.optim._layout import Layout, Tree
from pprs.optim._minimum import Minima, Minimum, Step
from pprs.optim._named_methods import planned
from pprs.optim._run import Limits, Minimisation, Watch
from pprs.smoothing import fresh_seed

_STEPS = 1000  # where nothing else ends a run


@overload
def minimize(
    fun: Callable[..., Tensor],
    x0: Tree,
    args: Sequence[Any] = ...,
    *,
    depth: int = ...,
    method: str = ...,
    epsilon: float | None = ...,
    lipschitz: float | None = ...,
    smoothness: float | None = ...,
    radius: float | None = ...,
    lower: float | None = ...,
    convex: bool = ...,
    time: float | None = ...,
    steps: int | None = ...,
    target: float | None = ...,
    seed: int | None = ...,
    callback: Callable[[Tree, Step], object] | None = ...,
    batched: Literal[False] = ...,
    **options: Any,
) -> Minimum: ...
@overload
def minimize(
    fun: Callable[..., Tensor],
    x0: Tree,
    args: Sequence[Any] = ...,
    *,
    depth: int = ...,
    method: str = ...,
    epsilon: float | None = ...,
    lipschitz: float | None = ...,
    smoothness: float | None = ...,
    radius: float | None = ...,
    lower: float | None = ...,
    convex: bool = ...,
    time: float | None = ...,
    steps: int | None = ...,
    target: float | None = ...,
    seed: int | Sequence[int] | None = ...,
    callback: Callable[[Tree, list[Step | None]], object] | None = ...,
    batched: Literal[True],
    **options: Any,
) -> Minima: ...
def minimize(
    fun: Callable[..., Tensor],
    x0: Tree,
    args: Sequence[Any] = (),
    *,
    depth: int = 1,
    method: str = "auto",
    epsilon: float | None = None,
    lipschitz: float | None = None,
    smoothness: float | None = None,
    radius: float | None = None,
    lower: float | None = None,
    convex: bool = False,
    time: float | None = None,
    steps: int | None = None,
    target: float | None = None,
    seed: int | Sequence[int] | None = None,
    callback: Callable[[Tree, Any], object] | None = None,
    batched: bool = False,
    **options: Any,
) -> Minimum | Minima:
    r"""Minimise a function of tensors, by a method for pipelines.

    The points of a step are evaluated together under `torch.vmap`. Methods are those of
    `pprs.theory`, and time is the theory's: K passes through $\Delta$ nodes take
    $2(K + \Delta - 1)$. `fun` is also evaluated at every answer $y_t$, for `history` and `target`,
    which is not counted.

    - `"pprs-measured"`, which is `"auto"`: PPRS whose sigma follows the measured bias. It knows
      `epsilon`, `radius` and `lower` where they are given, and finds out by itself what is not.
      A `lower` that fun comes nowhere near is left aside, and `message` says so.
    - `"pprs-proved"`: the same with a sigma that never rises, and with a proof, by `epsilon`,
      `lipschitz` and `radius`; samples, and the width of `pprs.theory.bounds`.
    - `"pprs"`: as published, by `epsilon`, `lipschitz` and `radius`; or lr, sigma, samples.
    - `"duchi"`: Duchi et al. (2012), by `lipschitz` and `radius`; samples.
    - `"subgradient"`: by `epsilon`, `lipschitz` and `radius`; or lr.
    - `"gd"` and `"agd"`: gradient descent and Nesterov's, by lr or `smoothness`. `"adam"`: lr.

    Args:
        fun: takes x as `x0` is, and `args`; returns a scalar tensor. Random operations are refused.
        x0: where to start: a tensor, or a dictionary or tuple of tensors. It is not changed.
        args: more arguments of `fun`.
        depth: $\Delta \ge 1$: how many stages a pass goes through; 1 if nothing waits, as for a
            function that is evaluated at once, where `"agd"` or `"adam"` often needs less.
        method: see above.
        epsilon: precision $\varepsilon > 0$ that is asked for. By itself it ends no run: give
            `lower` or `target` with it, or a method whose number of steps is proved.
        lipschitz: constant L > 0 of the function.
        smoothness: constant $\beta > 0$ of its gradient, if it has one.
        radius: distance R > 0 from `x0` to a minimizer.
        lower: a value that the function is never below, and that it may nearly reach.
        convex: whether the function is convex, which `bound` needs where there is no `lower`.
        time: the most pipeline time, above 0; no limit by default.
        steps: the most steps, at least 1. By default as many as are proved to reach `epsilon`,
            else 1,000, but no limit where `time` is given.
        target: a value that is good enough; `lower + epsilon` by default, where both are given.
        seed: an integer; other perturbations each time by default.
        callback: called with a copy of x and the `Step` after each; ends the run by StopIteration.
        batched: whether the first axis of x0 goes over B starts, and that of every tensor of `args`
            over what `fun` takes with each. `fun` gets one x. Every start has its own run, as if
            it were the only one, with a seed of its own (`seed` is one of each, or start b has
            `seed + b`); all are evaluated together. `callback` gets a list with the `Step` of each,
            None where it has ended.
        options: those of the method: lr, momentum, sigma, samples, width.

    Raises:
        ValueError: for an argument out of its range, or what a method needs and is not given.
        TypeError: for an `x0` that has no numbers, a `fun` that returns no scalar tensor, or `args`
            that do not belong to the starts.
        RuntimeError: if `fun` does not run at `x0` or under vmap, is not finite somewhere or below
            `lower`, or has no gradient.

    Example:
        >>> import torch
        >>> def distance(x):
        ...     return (x - torch.arange(6.0)).abs().max()
        >>> found = minimize(distance, torch.zeros(6), depth=100, lower=0, epsilon=0.1, seed=0)
        >>> found.success, found.fun <= 0.1
        (True, True)
        >>> goals = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])
        >>> def near(x, goal):
        ...     return (x - goal).abs().max()
        >>> given = {"depth": 50, "lower": 0, "epsilon": 0.1, "seed": 0}
        >>> minima = minimize(near, torch.zeros(3, 2), (goals,), batched=True, **given)
        >>> minima.x.shape, minima.success.all().item(), minima[2].fun <= 0.1
        (torch.Size([3, 2]), True, True)
    """
    layout = Layout(x0, batched)
    known = Known(layout.start.shape[-1], depth, epsilon, lipschitz, smoothness, radius, lower)
    plan = planned(method, known, options)
    _check(steps, time, target)
    seeds = _seeds(seed, layout.starts)
    if steps is None and time is None:
        steps = _STEPS if plan.proved is None else max(1, plan.proved)
    clock = Watch(Function(fun, layout, args), layout, depth, seeds)
    limits = Limits(math.inf if time is None else time, steps, target, epsilon, lower)
    run = Minimisation(clock, plan.method, layout, limits)
    run.go(callback)
    return run.found(lambda taken: gap_after(taken, plan.method, known) if convex else None)


def _check(steps: int | None, time: float | None, target: float | None) -> None:
    if steps is not None:
        counts(steps=steps)
    if time is not None:
        positive(time=time)
    if target is not None:
        real(target=target)


def _seeds(seed: int | Sequence[int] | None, starts: int | None) -> Sequence[int]:
    """The seed of each start."""
    if isinstance(seed, Sequence) and not isinstance(seed, str) and starts is not None:
        if len(seed) != starts or not all(map(_is_seed, seed)):
            raise ValueError(f"seed must be one integer, or one for each of {starts} starts")
        return seed
    first = fresh_seed() if seed is None else seed
    if not _is_seed(first):
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
    return range(first, first + (starts or 1))


def _is_seed(seed: object) -> TypeGuard[int]:
    return isinstance(seed, numbers.Integral) and int(seed) >= 0
