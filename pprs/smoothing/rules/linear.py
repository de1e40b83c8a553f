"""Linear maps, convolutions and look-ups of parameters: how each is read and smoothed."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._cost import LinearShape, choose
from pprs.smoothing._linear import ImplicitLinear, LinearUse, MaterialisedLinear
from pprs.smoothing._pass import Args, Func, Kwargs, Smoothed, Weight, changes
from pprs.smoothing._target import Drawn, Target
from pprs.smoothing._vmap import Operand, on_all_samples
from pprs.smoothing.rules.convolution import ConvUse, _Conv


def linear(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """``F.linear(input, weight, bias)``."""
    return _read_linear(mode, *args, **kwargs)


def _read_linear(mode: Smoothed, input: Any, weight: Any, bias: Any = None) -> Any:
    used = mode.weight(weight)
    if used is None or weight.dim() != 2:
        return NotImplemented
    return _apply_linear(mode, input, used, bias)


def matmul(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """``left @ right``, by any of its names."""
    if kwargs or len(args) != 2:
        return NotImplemented
    left, right = args
    used = mode.weight(right)
    if used is not None and right.dim() == 2:
        return _apply_linear(mode, left, _turned(used), None)
    used = mode.weight(left)
    if used is None or left.dim() != 2 or right.dim() not in {1, 2}:
        return NotImplemented
    # W B = (Bᵀ Wᵀ)ᵀ: the columns of B are the inputs.
    result = _apply_linear(mode, right if right.dim() == 1 else mode.valued(right).mT, used, None)
    matrix = isinstance(result, Tensor) and result.dim() == 2
    return result.mT.contiguous() if matrix else result  # as torch gives it: one may view it


def rmatmul(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """``right @ left``, called on ``right``."""
    return matmul(mode, func, args[::-1], kwargs)


def addmm(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """``beta * offset + alpha * left @ right``."""
    if len(args) != 3 or set(kwargs) - {"beta", "alpha"}:
        return NotImplemented
    offset, left, right = args
    beta, alpha = kwargs.get("beta", 1), kwargs.get("alpha", 1)
    used = mode.weight(right)
    if not left.dim() == right.dim() == 2 or beta == 0:
        return NotImplemented
    if used is not None and beta == alpha == 1:
        return _apply_linear(mode, left, _turned(used), offset)
    product = matmul(mode, func, (left, right), {})
    if product is NotImplemented:
        product = torch.mm(mode.valued(left), mode.valued(right))
    return _plus(product * alpha, mode.valued(offset) * beta)


def _turned(used: Weight) -> Weight:
    return Weight(used.target, not used.transposed)


def _apply_linear(mode: Smoothed, inputs: Any, used: Weight, bias: Any) -> Any:
    inputs, parameter = mode.valued(inputs), used.target.parameter
    width, out = parameter.shape if used.transposed else parameter.shape[::-1]
    if inputs.layout != torch.strided:
        return NotImplemented
    dtype = _computed_in(inputs, parameter)
    if dtype is None or inputs.dim() == 0 or inputs.shape[-1] != width:
        return NotImplemented  # torch's own error says it best
    if inputs.numel() == 0 or out == 0:
        return NotImplemented
    device = inputs.device.type
    own = mode.weight(bias)  # a bias that is a parameter is perturbed where it is added
    inside = own is not None and bias.shape == (out,) and _fits(bias, dtype)
    added = own.target if own is not None and inside else None
    body = functools.partial(_linear_on_all_samples, mode, used, added)
    operands = (inputs.to(dtype), parameter, bias if inside else None)
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            result = on_all_samples(body, mode.sample, *operands)
    else:
        result = on_all_samples(body, mode.sample, *operands)
    return result if bias is None or inside else _plus(result, mode.valued(bias), used.target.name)


def _computed_in(inputs: Tensor, weight: Tensor) -> torch.dtype | None:
    """The type of a product, which autocast may choose; ``None`` if torch refuses to mix these."""
    device = inputs.device.type
    casts = torch.is_autocast_enabled(device) and inputs.is_floating_point()
    if casts and torch.float64 not in {inputs.dtype, weight.dtype}:
        return torch.get_autocast_dtype(device)
    return inputs.dtype if inputs.dtype == weight.dtype else None


def _fits(bias: Tensor, dtype: torch.dtype) -> bool:
    """Whether torch adds a bias to a product of this type, as autocast may cast it."""
    casts = torch.is_autocast_enabled(bias.device.type) and bias.is_floating_point()
    return bias.dtype == dtype or (casts and torch.float64 not in {bias.dtype, dtype})


def _plus(product: Tensor, bias: Tensor, weight: str | None = None) -> Tensor:
    """A product and a bias of any shape that torch takes: from ``()`` to that of the product."""
    of = "" if weight is None else f" of parameter {weight!r}"
    if not _fits(bias, product.dtype):
        raise RuntimeError(
            f"a bias of {bias.dtype} is added to a product{of} of {product.dtype}: convert one"
        )
    total = product + bias.to(product.dtype)
    if total.numel() != product.numel():
        raise RuntimeError(
            f"a bias of shape {tuple(bias.shape)} is added to a product{of} of shape "
            f"{tuple(product.shape)}: it must not be larger (with noise='example' the closure sees "
            f"a batch of one)"
        )
    return total.view(product.shape)


def _linear_on_all_samples(
    mode: Smoothed,
    used: Weight,
    own_bias: Target | None,
    inputs: Operand,
    parameter: Operand,
    bias: Operand | None,
) -> Tensor:
    target, value = used.target, inputs.value
    count = target.samples.count
    shared = inputs.shared
    leading = value.shape[:-1] if shared else value.shape[1:-1]
    flat = value.reshape(*(() if shared else (count,)), -1, value.shape[-1])
    weight = parameter.value
    if used.transposed:
        weight = mode.enter(weight.T)
    use = LinearUse(target, used.transposed, shared, own_bias, mode.cycle(value))
    function = (
        ImplicitLinear if _goes_implicit(target, flat, weight, shared) else MaterialisedLinear
    )
    result: Tensor = function.apply(flat, weight, None if bias is None else bias.value, use)  # type: ignore[no-untyped-call]
    return mode.enter(result).view(count, *leading, -1)


def _goes_implicit(
    target: Target, inputs: Tensor, weight: Tensor, shared: bool, positions: int | None = None
) -> bool:
    """Whether a linear map of ``(..., n, in)``, or a convolution with n outputs, forms no X."""
    if not target.may_draw(Drawn.PRODUCT):
        return False
    samples = target.samples
    rows = inputs.shape[-2] if positions is None else positions
    shape = LinearShape(
        samples.streams,
        rows * (1 if shared else samples.share),
        weight[0].numel(),
        len(weight),
        not shared,  # whether or not gradients are recorded: the noise must not depend on that
        positions is not None,
        inputs.device.type == "cuda",
    )
    return choose(shape) == "implicit"


def embedding(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """``F.embedding``: only the rows that are looked up are perturbed."""
    return _read_embedding(mode, *args, **kwargs)


def _read_embedding(
    mode: Smoothed,
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    used = mode.weight(weight)
    if used is None or used.transposed:
        return NotImplemented
    target = used.target
    if max_norm is not None:
        raise changes(f"embedding(max_norm={max_norm})", target.name)
    if not target.may_draw(Drawn.ROWS):
        return NotImplemented

    def body(index: Operand, parameter: Operand) -> Tensor:
        if scale_grad_by_freq and not index.shared:
            raise RuntimeError(
                f"embedding(scale_grad_by_freq=True) counts the tokens of a batch, but those that "
                f"look up parameter {target.name!r} differ between perturbations: set it to False"
            )
        found = F.embedding(
            index.value,
            parameter.value,
            padding_idx,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )
        count, lookup = target.samples.count, index.value.long()
        lookup = lookup.expand(count, *lookup.shape) if index.shared else lookup
        noise = target.rows(lookup.reshape(count, -1)).view(*lookup.shape, found.shape[-1])
        return mode.enter(found) + noise

    return on_all_samples(body, mode.sample, mode.valued(input), target.parameter)


def conv(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """``F.conv1d``, ``F.conv2d`` and ``F.conv3d``."""
    return _read_conv(mode, func, *args, **kwargs)


def _read_conv(
    mode: Smoothed,
    func: Func,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    used, space = mode.weight(weight), weight.dim() - 2
    inputs, bias = mode.valued(input), mode.valued(bias)
    if padding == "valid":
        padding = 0
    if used is None or inputs.dim() not in {space + 1, space + 2}:
        return NotImplemented
    if isinstance(padding, str):
        values = (inputs, mode.valued(weight), bias, stride, padding, dilation, groups)
        return mode.called(func, values, {}).contiguous()
    device, target = inputs.device.type, used.target
    dtype = _computed_in(inputs, target.parameter)
    if dtype is None or inputs.numel() == 0:
        return NotImplemented
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(
            f"the convolution with parameter {target.name!r} has {len(weight)} outputs: its bias "
            f"must have the shape ({len(weight)},), got {tuple(bias.shape)}"
        )
    inputs = inputs.to(dtype)
    strides, paddings = _per_dimension(stride, space), _per_dimension(padding, space)
    dilations = _per_dimension(dilation, space)

    def body(inputs: Operand, parameter: Operand) -> Tensor:
        value, shared = inputs.value, inputs.shared
        lead = value.shape[: -space - 1] if shared else value.shape[1 : -space - 1]
        value = value.reshape(*(() if shared else value.shape[:1]), -1, *value.shape[-space - 1 :])
        use = ConvUse(target, shared, strides, paddings, dilations, groups)
        positions = value.shape[-space - 2] * math.prod(use.output_space(value))
        weight = parameter.value
        if use.unfolds and _goes_implicit(target, value, weight, shared, positions):
            result = _unfolded_conv(mode, use, value, weight)
        else:
            if shared and value.requires_grad:
                value = value.expand(target.samples.count, *value.shape)
                use = replace(use, shared=False)
            result = mode.enter(_Conv.apply(value, weight, use))  # type: ignore[no-untyped-call]
        return result.reshape(len(result), *lead, *result.shape[2:])

    with torch.autocast(device, enabled=False):
        result = on_all_samples(body, mode.sample, inputs, target.parameter)
    return result if bias is None else _plus(result, bias.view(-1, *[1] * space), target.name)


def _unfolded_conv(mode: Smoothed, use: ConvUse, inputs: Tensor, weight: Tensor) -> Tensor:
    """A convolution as a linear map of patches, which few positions make cheaper."""
    rows = use.unfold(inputs)
    flat = mode.enter(weight.flatten(1))
    linear_use = LinearUse(use.target, False, use.shared)
    outputs: Tensor = ImplicitLinear.apply(rows, flat, None, linear_use)  # type: ignore[no-untyped-call]
    shape = (len(outputs), -1, *use.output_space(inputs), len(flat))
    return mode.enter(outputs).reshape(shape).movedim(-1, 2).contiguous()


def _per_dimension(setting: Any, space: int) -> tuple[int, ...]:
    return (
        (setting,) * space if isinstance(setting, int) else tuple(setting) * (space // len(setting))
    )
