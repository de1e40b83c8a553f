"""Estimates of the constants of the theory, from a short trial run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pprs._arguments import counts, positive
from pprs.smoothing import check_model, check_scalar


@dataclass(frozen=True)
class Constants:
    r"""What `pprs.theory.choose` needs to know of an objective.

    Args:
        lipschitz: L, in units of the loss per unit of the parameters.
        radius: R, in units of the parameters.
        dimension: number d of trainable parameters.

    Example:
        >>> known = Constants(lipschitz=1.0, radius=2.0, dimension=10)
        >>> known.radius
        2.0
    """

    lipschitz: float
    radius: float
    dimension: int


def estimate_constants(
    closure: Callable[[], Tensor], model: nn.Module, *, steps: int = 200, lr: float = 0.01
) -> Constants:
    r"""Estimate L and R from `steps` steps of Adam, which are undone afterwards.

    L is the largest norm of a gradient on the way, R the distance from the start to the point of
    lowest loss. Both are what was seen, not bounds: the true L may be larger away from the path,
    and R if the run was too short. Where much depends on them, repeat it with more steps and other
    step sizes and take the largest.

    Args:
        closure: computes the loss, a scalar; it must always see the same batch.
        model: whose trainable parameters are meant. They, their `.grad` and the buffers are what
            they were afterwards, also after an error.
        steps: length of the trial, at least 1.
        lr: Adam's step size, above 0.

    Raises:
        ValueError: for settings out of range, a model without trainable parameters, or a loss that
            is not a scalar tensor.
        RuntimeError: if the loss or a gradient is not finite on the way, all gradients are 0, or no
            step lowers the loss.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> estimate_constants(lambda: model(x).abs().sum(), model).lipschitz
        5.0
    """
    counts(steps=steps)
    positive(lr=lr)
    parameters = list(check_model(model).values())
    kept = {name: tensor.clone() for name, tensor in _state(model).items()}
    gradients = [p.grad for p in parameters]
    try:
        lipschitz, radius = _trial(closure, parameters, steps, lr)
    finally:
        with torch.no_grad():
            for name, tensor in _state(model).items():
                tensor.copy_(kept[name])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
    if lipschitz == 0:
        raise RuntimeError(
            "every gradient of the trial was 0: the loss does not depend on the model, or has no "
            "slope where it starts"
        )
    if radius == 0:
        raise RuntimeError(
            f"no step of the trial lowered the loss, so nothing is known of R: try a smaller lr "
            f"than {lr}, or more steps than {steps}"
        )
    return Constants(lipschitz, radius, sum(p.numel() for p in parameters))


def _trial(
    closure: Callable[[], Tensor], parameters: list[nn.Parameter], steps: int, lr: float
) -> tuple[float, float]:
    start = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr)
    lipschitz, radius, lowest = 0.0, 0.0, math.inf
    for step in range(steps + 1):
        for parameter in parameters:
            parameter.grad = None
        with torch.enable_grad():
            loss = check_scalar(closure())
        loss.backward()  # type: ignore[no-untyped-call]
        norm = _norm([p.grad for p in parameters if p.grad is not None])
        if not math.isfinite(norm) or not math.isfinite(loss.item()):
            raise RuntimeError(
                f"step {step} of the trial has loss {loss.item()} and a gradient of norm {norm}: "
                f"a smaller lr than {lr} may help"
            )
        lipschitz = max(lipschitz, norm)
        if loss.item() < lowest:
            lowest = loss.item()
            radius = _norm([p.detach() - q for p, q in zip(parameters, start, strict=True)])
        optimizer.step()
    return lipschitz, radius


def _norm(tensors: list[Tensor]) -> float:
    squares = [tensor.double().square().sum().item() for tensor in tensors]
    return math.sqrt(sum(squares))


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
