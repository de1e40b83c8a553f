"""The loss of a pipeline as a number that `backward()` can be called on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pprs.pipeline import Pipeline
from pprs.smoothing import hooks_held

Gradients = list[Tensor | None]


def pipeline_loss(pipeline: Pipeline, x: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
    """Take a step of a pipeline for a loop that calls `backward()` by itself; a collective call.

    Args:
        pipeline: of the model.
        x: the inputs, as for `Pipeline.step`.
        y: the targets, shape `(m, ...)`.

    Returns:
        The mean loss, a scalar, the same in all processes. Its `backward()`, which may be that of
        a multiple of it, adds the gradient to the `.grad` of this process's parameters.

    Raises:
        ValueError: as `Pipeline.step` does.

    Example:
        >>> import torch.distributed as dist
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> pipeline = Pipeline(torch.nn.Sequential(torch.nn.Linear(4, 1)), torch.nn.MSELoss())
        >>> (pipeline_loss(pipeline, torch.ones(2, 4), torch.ones(2, 1)) / 2).backward()
        >>> pipeline.named_parameters()["0.weight"].grad.shape
        torch.Size([1, 4])
        >>> dist.destroy_process_group()
    """
    parameters = list(pipeline.named_parameters().values())
    earlier: Gradients = [p.grad for p in parameters]
    with hooks_held(parameters):  # which run when backward() is called
        loss = pipeline.step(x, y)
    gradients: Gradients = [p.grad for p in parameters]
    for parameter, before in zip(parameters, earlier, strict=True):
        parameter.grad = before
    found = pipeline.from_last(None if loss is None else loss.cpu())
    start = torch.zeros((), requires_grad=True)  # where a stage has no parameters
    result: Tensor = _Known.apply(found.to(pipeline.device), gradients, start, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Known(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Gradients, *_: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (factor,) = outer
        scaled = (None if g is None else g * factor.to(g.dtype) for g in ctx.gradients)
        return None, None, None, *scaled
