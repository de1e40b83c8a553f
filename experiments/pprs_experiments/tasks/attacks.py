"""Adversarial examples: inputs changed a little so that the loss is large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pprs._arguments import counts, positive
from pprs.training.losses import Loss


def pgd(
    model: nn.Module,
    loss: Loss,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float | Tensor,
    steps: int,
    step: float = 0.25,
    bounds: tuple[float | Tensor, float | Tensor],
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Projected gradient ascent of the loss in the inputs, all of them at most $\varepsilon$ away.

    $x_{t+1} = P(x_t + s \varepsilon\, \mathrm{sign} \nabla_x \ell(x_t))$, where P projects on the
    box of all inputs within `bounds` that differ from x by at most $\varepsilon$ in every pixel.
    A loss that is convex in the inputs never falls on the way. From Madry et al., Towards deep
    learning models resistant to adversarial attacks, 2018.

    The model runs in evaluation mode, and is left in the modes and with the gradients it had.

    Args:
        model: inputs `(m, ...)` to outputs `(m, classes)`.
        loss: of outputs and labels, a scalar.
        x: inputs, shape `(m, ...)`, within the bounds.
        y: labels, shape `(m,)`.
        epsilon: $\varepsilon$ in the inputs' units, at least 0: a number, or a tensor such as
            `PixelScale.radius` gives, which broadcasts to the inputs.
        steps: how many, at least 1.
        step: s, above 0: the size of a step as a part of $\varepsilon$.
        bounds: the least and the largest inputs, such as `PixelScale.bounds`.
        generator: draws where to start, uniformly within $\varepsilon$ of x; `None`: at x.

    Returns:
        The last inputs, shape `(m, ...)`, without a gradient.

    Raises:
        ValueError: for an argument out of its range, or inputs outside the bounds.
    """
    counts(steps=steps)
    positive(step=step)
    x = x.detach()
    radius = torch.as_tensor(epsilon, dtype=x.dtype, device=x.device)
    low, high = _box(x, radius, bounds)
    adversarial = x
    if generator is not None:
        drawn = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        adversarial = (x + radius * (2 * drawn.to(x.device) - 1)).clamp(low, high)
    with _evaluating(model):
        for _ in range(steps):
            gradient = _gradient(model, loss, adversarial, y)
            adversarial = (adversarial + step * radius * gradient.sign()).clamp(low, high)
    return adversarial


def _box(
    x: Tensor, radius: Tensor, bounds: tuple[float | Tensor, float | Tensor]
) -> tuple[Tensor, Tensor]:
    if not (radius.isfinite() & (radius >= 0)).all():
        raise ValueError(f"epsilon must be finite and at least 0, got {radius.tolist()}")
    least, most = (torch.as_tensor(bound, dtype=x.dtype, device=x.device) for bound in bounds)
    if not ((least <= x) & (x <= most)).all():
        raise ValueError(
            f"x must lie within the bounds, {least.flatten().tolist()} to "
            f"{most.flatten().tolist()}, got inputs from {float(x.min())} to {float(x.max())}"
        )
    return torch.maximum(x - radius, least), torch.minimum(x + radius, most)


def _gradient(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        # Of the inputs only: the parameters' own .grad stay as they are.
        (gradient,) = torch.autograd.grad(loss(model(x), y), x)
    return gradient


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
