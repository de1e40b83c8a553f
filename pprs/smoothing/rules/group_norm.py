"""Group normalisation of all samples at once: vmap would go over the maps some times more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._once_differentiable import once_differentiable
from pprs.smoothing._target import Target
from pprs.smoothing._vmap import Beside, Operand, innermost, not_a_view, on_all_samples, varies
from pprs.smoothing.rules.normalisation import normalise
from pprs.smoothing.rules.registry import Call, rule


@rule(F.group_norm, torch.group_norm, any_call=True)
def group_norm(
    call: Call,
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """`F.group_norm(input, num_groups, weight, bias)` of maps that differ between samples."""
    scale, offset = call.parameter(weight), call.parameter(bias)
    same = isinstance(input, Tensor) and input.dim() > 1 and input.numel() > 0 and varies(input)
    if args or kwargs or scale is None or offset is None or not same or not innermost():
        return normalise(call, input, num_groups, weight, bias, eps, *args, **kwargs)
    fitting = all(
        p.dtype == input.dtype and p.shape == input.shape[1:2] and p.dtype.itemsize > 2
        for p in (weight, bias)
    )
    if not fitting or input.shape[1] % num_groups:
        return normalise(call, input, num_groups, weight, bias, eps)

    def body(maps: Operand, weight: Operand, bias: Operand) -> Beside:
        use = _Use(scale.target, offset.target, num_groups, eps)
        applied: Any = _GroupNorm.apply
        result: Tensor = applied(maps.value.transpose(0, 1), weight.value, bias.value, use)
        return Beside(call.current.enter(result))

    parameters = scale.target.parameter, offset.target.parameter
    return on_all_samples(body, call.current.sample, input, *parameters)


@dataclass(frozen=True)
class _Use:
    """What the normalised maps are multiplied by, and what is added to them."""

    scale: Target
    offset: Target
    groups: int
    eps: float


class _GroupNorm(torch.autograd.Function):
    """`forward(maps, weight, bias, use)`: maps and result `(n, samples, channels, *space)`.

    The samples are groups of channels: so each has a weight and a bias of its own.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, use: _Use) -> Tensor:
        flat = _beside(maps)
        scale, offset = use.scale.stacked().flatten(), use.offset.stacked().flatten()
        ctx.sizes = *flat.shape, maps.shape[1] * use.groups
        normalise: Any = torch.native_group_norm
        normalised, mean, rstd = normalise(flat, scale, offset, *ctx.sizes, use.eps)
        ctx.save_for_backward(flat, mean, rstd, scale)
        return not_a_view(normalised, *maps.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, mean, rstd, scale = ctx.saved_tensors
        backward: Any = torch.ops.aten.native_group_norm_backward
        wanted = ctx.needs_input_grad[:3]
        found = backward(_beside(grad), flat, mean, rstd, scale, *ctx.sizes, wanted)
        for_maps, *of_samples = found
        of_parameters = [None if g is None else g.view(*grad.shape[1:3]).sum(0) for g in of_samples]
        return None if for_maps is None else for_maps.view(grad.shape), *of_parameters, None


def _beside(maps: Tensor) -> Tensor:
    """All samples' channels of each image: `(n, samples * channels, places)`.

    Space is one dimension, or torch may take maps of one place for such as have channels last, and
    then write to a gradient that it was not asked for.
    """
    return maps.contiguous().view(maps.shape[0], maps.shape[1] * maps.shape[2], -1)
