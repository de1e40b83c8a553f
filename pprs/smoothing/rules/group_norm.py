"""Group normalisation of all samples at once: vmap would go over the maps some times more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._once_differentiable import once_differentiable
from pprs.smoothing._target import Target
from pprs.smoothing._vmap import Operand, innermost, not_a_view, on_all_samples, varies
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

    def body(maps: Operand, weight: Operand, bias: Operand) -> Tensor:
        use = _Use(scale.target, offset.target, num_groups, eps)
        applied: Any = _GroupNorm.apply
        result: Tensor = applied(maps.value.contiguous(), weight.value, bias.value, use)
        return call.current.enter(result)

    parameters = scale.target.parameter, offset.target.parameter
    return on_all_samples(body, call.current.sample, input, *parameters)


@dataclass(frozen=True)
class _Use:
    """What the normalised maps are multiplied by, and what is added to them."""

    scale: Target
    offset: Target
    groups: int
    eps: float

    def spread(self, target: Target, maps: Tensor) -> Tensor:
        """The perturbed parameter, as it meets maps `(samples, n, channels, *space)`."""
        stacked = target.stacked()
        return stacked.view(len(stacked), 1, -1, *[1] * (maps.dim() - 3))

    def sizes(self, maps: Tensor) -> tuple[int, int, int, int]:
        """Images, channels, places in each, and groups."""
        images, channels = maps.shape[0] * maps.shape[1], maps.shape[2]
        return images, channels, maps.numel() // (images * channels), self.groups


class _GroupNorm(torch.autograd.Function):
    """`forward(maps, weight, bias, use)`: maps `(samples, n, channels, *space)`."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, use: _Use) -> Tensor:
        normalised, mean, rstd = torch.native_group_norm(
            maps.flatten(0, 1), None, None, *use.sizes(maps), use.eps
        )
        ctx.use = use
        ctx.save_for_backward(maps, mean, rstd)
        result = not_a_view(normalised, *maps.shape)
        scale, offset = use.spread(use.scale, maps), use.spread(use.offset, maps)
        return torch.addcmul(offset, result, scale, out=result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        maps, mean, rstd = ctx.saved_tensors
        use: _Use = ctx.use

        def gradients(of: Tensor, *wanted: bool) -> tuple[Tensor | None, ...]:
            images = of.contiguous().flatten(0, 1), maps.flatten(0, 1)
            ones = maps.new_ones(maps.shape[2])  # or torch has no gradient of it
            backward: Any = torch.ops.aten.native_group_norm_backward
            known = *images, mean, rstd, ones, *use.sizes(maps)
            found: tuple[Tensor | None, ...] = backward(*known, wanted)
            return found

        of_maps, *of_parameters, _ = ctx.needs_input_grad
        for_maps = for_weight = for_bias = None
        if of_maps:
            for_maps, *_ = gradients(grad * use.spread(use.scale, maps), True, False, False)
            for_maps = None if for_maps is None else for_maps.view(maps.shape)
        if any(of_parameters):  # of all samples: their parameter is one
            _, for_weight, for_bias = gradients(grad, False, *of_parameters)
        return for_maps, for_weight, for_bias, None
