"""Nesterov's accelerated gradient descent as a torch optimizer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, ParamsT

from pprs.optim._uncompiled import uncompiled
from pprs.smoothing import check_apart

Momentum: TypeAlias = float | Literal["nesterov"]
"""A constant of at least 0, or the sequence of the convex theory."""


class AGD(Optimizer):
    r"""Nesterov's accelerated gradient descent, in the two-sequence form of Algorithm 1.

    With $x_0 = y_0$ and a gradient $G_t$ taken at $x_t$:

    $$ y_{t+1} = x_t - \eta\, G_t, \qquad x_{t+1} = (1 + \mu_t)\, y_{t+1} - \mu_t\, y_t. $$

    While training, the parameters hold $x_t$. The result of the method is $y_t$: evaluate and save
    inside `evaluating`, or between `eval` and `train`.

    Args:
        params: parameters, named parameters or param groups, as for any torch optimizer.
        lr: step size $\eta \ge 0$.
        momentum: a constant $\mu \ge 0$ (0 is gradient descent), or `"nesterov"` for
            $\mu_t = (\lambda_t - 1)/\lambda_{t+1}$ with $\lambda_0 = 0$ and
            $\lambda_t = (1 + \sqrt{1 + 4\lambda_{t-1}^2})/2$ (Lemma 1). Since $\mu_0 = -1$, the
            first step of that sequence returns $x_1 = x_0$, as the source has it.
        foreach: update all parameters of a group by torch's fused list operations (the default),
            or one by one, which needs less memory.

    Raises:
        ValueError: for an empty parameter list, parameters that share their memory, or an `lr` or
            `momentum` out of range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = AGD([weight], lr=0.1, momentum=0.9)
        >>> for _ in range(100):
        ...     optimizer.zero_grad()
        ...     weight.square().sum().backward()
        ...     optimizer.step()
        >>> with optimizer.evaluating():  # at the result, y_t
        ...     print(bool(weight.abs().max() < 0.1))
        True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        momentum: Momentum = 0.9,
        *,
        foreach: bool = True,
    ) -> None:
        initialise(self, params, {"lr": lr, "momentum": momentum, "foreach": foreach})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; every group counts its own steps, and so its own momentum sequence."""
        group = {**self.defaults, **param_group}
        _check_lr(group["lr"])
        _check_momentum(group["momentum"])
        super().add_param_group({"step": 0, "lambda": 0.0, "evaluating": False, **param_group})
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        try:
            check_apart((str(number), parameter) for number, parameter in enumerate(every))
        except ValueError:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but with tensors of its own, which no step of another optimizer changes."""
        super().load_state_dict({**state_dict, "state": copy.deepcopy(state_dict["state"])})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step from the gradients in `.grad`; parameters without one stay.

        Args:
            closure: recomputes the loss and the gradients, as for any torch optimizer.

        Returns:
            What the closure returned, or `None`.

        Raises:
            RuntimeError: while evaluating, for sparse gradients, or if a scheduler has
                replaced `momentum="nesterov"`.
        """
        return self._step(closure)

    # Apart from step(), which torch wraps with its hooks: PPRS must not run them twice.
    def _step(self, closure: Callable[[], Any] | None) -> Any:
        self.check_ready()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            momentum = advance(group)
            parameters = [p for p in group["params"] if p.grad is not None]
            lists = [parameters] if group["foreach"] else [[p] for p in parameters]
            for some in lists:
                if some:
                    self._update(some, group["lr"], momentum)
        return loss

    def check_ready(self) -> None:
        """Raise `RuntimeError` if no step can be taken: while evaluating, for one.

        Also for a momentum that a learning-rate scheduler has put in the sequence's place.
        """
        if any(group["evaluating"] for group in self.param_groups):
            raise RuntimeError(
                f"{type(self).__name__}.step() was called while the parameters hold y_t for "
                f"evaluation: call train() or leave `with optimizer.evaluating()` first"
            )
        for group in self.param_groups:
            replaced = self.defaults["momentum"] == "nesterov" != group["momentum"]
            if replaced and "max_momentum" in group:
                raise RuntimeError(
                    f'a scheduler has set momentum="nesterov" to {group["momentum"]:.3g}, as '
                    f"OneCycleLR and CyclicLR do: build it with cycle_momentum=False, or the "
                    f"optimizer with a number as momentum"
                )

    def _update(self, xs: list[Tensor], lr: float, momentum: float) -> None:
        gradients = self.gradients(xs)
        ys = [self.y(x) for x in xs]
        torch._foreach_add_(xs, gradients, alpha=-lr)  # y_{t+1}
        differences = torch._foreach_sub(xs, ys)
        torch._foreach_copy_(ys, xs)
        torch._foreach_add_(xs, differences, alpha=momentum)  # x_{t+1}

    def gradients(self, xs: list[Tensor]) -> list[Tensor]:
        """Those of parameters that have one; `RuntimeError` if they are sparse."""
        gradients = [x.grad for x in xs if x.grad is not None]
        if any(gradient.is_sparse for gradient in gradients):
            raise RuntimeError(
                f"{type(self).__name__} does not take sparse gradients: build the embedding "
                f"with sparse=False"
            )
        return gradients

    def y(self, x: Tensor) -> Tensor:
        """$y_t$ of a parameter, which is $x_t$ before the first step."""
        state = self.state[x]
        if "y" not in state:
            state["y"] = x.clone(memory_format=torch.preserve_format)
        y: Tensor = state["y"]
        if (y.dtype, y.device) != (x.dtype, x.device):  # the model was moved since
            state["y"] = y = y.to(x)
        return y

    @torch.no_grad()
    def eval(self) -> None:
        """Put $y_t$, the result of the method, into the parameters; a second call does nothing."""
        for group in self.param_groups:
            if not group["evaluating"]:
                group["evaluating"] = True
                for p in group["params"]:
                    if "y" in self.state[p]:
                        self.state[p]["x"] = p.clone(memory_format=torch.preserve_format)
                        p.copy_(self.state[p]["y"])

    @torch.no_grad()
    def train(self) -> None:
        """Put $x_t$ back, bit for bit, where the next gradient is taken."""
        for group in self.param_groups:
            if group["evaluating"]:
                group["evaluating"] = False
                for p in group["params"]:
                    if "x" in self.state[p]:
                        p.copy_(self.state[p].pop("x"))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The parameters hold $y_t$ inside the block, and what they held before after it."""
        training = [not group["evaluating"] for group in self.param_groups]
        self.eval()
        try:
            yield
        finally:
            if any(training):
                self.train()


def initialise(optimizer: Optimizer, params: Any, defaults: dict[str, Any]) -> None:
    """Set up an optimizer; raise an error where there is nothing to optimize."""
    name = type(optimizer).__name__
    if isinstance(params, nn.Module):
        raise TypeError(
            f"{name} takes parameters, not the model: {name}(model.parameters(), ...), got a "
            f"{type(params).__name__}"
        )
    params = list(params)
    if not params:
        raise ValueError(
            f"{name} got an empty parameter list: pass model.parameters() of a "
            f"model that has some (a generator can be read only once)"
        )
    with uncompiled():
        Optimizer.__init__(optimizer, params, defaults)


def _check_lr(lr: float) -> None:
    if isinstance(lr, str) or not (math.isfinite(lr) and lr >= 0):
        raise ValueError(f"lr is the step size: it must be finite and at least 0, got {lr!r}")


def _check_momentum(momentum: Momentum) -> None:
    number = isinstance(momentum, (int, float)) and math.isfinite(momentum) and momentum >= 0
    if not (number or momentum == "nesterov"):
        raise ValueError(
            f'momentum must be a finite number of at least 0 or "nesterov", got {momentum!r}'
        )


def advance(group: dict[str, Any]) -> float:
    """The momentum of this step; counts the group's step and moves its sequence on."""
    group["step"] += 1
    if group["momentum"] != "nesterov":
        return float(group["momentum"])
    current = group["lambda"]
    group["lambda"] = following = (1 + math.sqrt(1 + 4 * current**2)) / 2
    return float((current - 1) / following)
