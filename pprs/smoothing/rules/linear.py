"""Linear maps: their noise need not be formed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._autocast import without_autocast
from pprs.smoothing._linear import ImplicitLinear, LinearUse, MaterialisedLinear, goes_implicit
from pprs.smoothing._pass import Weight
from pprs.smoothing._vmap import Operand, on_all_samples
from pprs.smoothing.rules.registry import Call, rule


@rule(F.linear)
def linear(call: Call, input: Any, weight: Any, bias: Any = None) -> Any:
    """`F.linear(input, weight, bias)`."""
    used = call.parameter(weight)
    if used is None or weight.dim() != 2:
        return NotImplemented
    return _apply(call, input, used, bias)


@rule(torch.mm, Tensor.mm, torch.matmul, Tensor.matmul, Tensor.__matmul__)
def matmul(call: Call, *args: Any, **kwargs: Any) -> Any:
    """`left @ right`, by any of its names."""
    if kwargs or len(args) != 2:
        return NotImplemented
    left, right = args
    used = call.parameter(right)
    if used is not None and right.dim() == 2:
        return _apply(call, left, used.turned(), None)
    used = call.parameter(left)
    if used is None or left.dim() != 2 or right.dim() not in {1, 2}:
        return NotImplemented
    # W B = (Bᵀ Wᵀ)ᵀ: the columns of B are the inputs.
    result = _apply(call, right if right.dim() == 1 else call.perturbed(right).mT, used, None)
    matrix = isinstance(result, Tensor) and result.dim() == 2
    return result.mT.contiguous() if matrix else result  # as torch gives it: one may view it


@rule(Tensor.__rmatmul__)
def rmatmul(call: Call, right: Any, left: Any) -> Any:
    """`left @ right`, called on `right`."""
    return matmul(call, left, right)


@rule(torch.addmm, Tensor.addmm)
def addmm(call: Call, *args: Any, **kwargs: Any) -> Any:
    """`beta * offset + alpha * left @ right`."""
    if len(args) != 3 or set(kwargs) - {"beta", "alpha"}:
        return NotImplemented
    offset, left, right = args
    beta, alpha = kwargs.get("beta", 1), kwargs.get("alpha", 1)
    used = call.parameter(right)
    if not left.dim() == right.dim() == 2 or beta == 0:
        return NotImplemented
    if used is not None and beta == alpha == 1:
        return _apply(call, left, used.turned(), offset)
    product = matmul(call, left, right)
    if product is NotImplemented:
        product = torch.mm(call.perturbed(left), call.perturbed(right))
    return plus(product * alpha, call.perturbed(offset) * beta)


def _apply(call: Call, inputs: Any, used: Weight, bias: Any) -> Any:
    inputs, parameter = call.perturbed(inputs), used.target.parameter
    width, out = parameter.shape if used.transposed else parameter.shape[::-1]
    if inputs.layout != torch.strided:
        return NotImplemented
    dtype = computed_in(inputs, parameter)
    if dtype is None or inputs.dim() == 0 or inputs.shape[-1] != width:
        return NotImplemented  # torch's own error says it best
    if inputs.numel() == 0 or out == 0:
        return NotImplemented
    own = call.parameter(bias)  # a bias that is a parameter is perturbed where it is added
    inside = own is not None and bias.shape == (out,) and _fits(bias, dtype)
    added = own.target if own is not None and inside else None

    def body(inputs: Operand, parameter: Operand, bias: Operand | None) -> Tensor:
        target, value, shared = used.target, inputs.value, inputs.shared
        count = target.samples.count
        leading = value.shape[:-1] if shared else value.shape[1:-1]
        flat = value
        if len(leading) != 1:  # else a view would be one more step on the way back
            flat = value.reshape(*(() if shared else (count,)), -1, value.shape[-1])
        weight = parameter.value
        if used.transposed:
            weight = call.current.enter(weight.T)
        use = LinearUse(target, used.transposed, shared, added, call.current.cycle(value))
        implicit = goes_implicit(target, flat, weight, shared)
        function = ImplicitLinear if implicit else MaterialisedLinear
        offset = None if bias is None else bias.value
        result: Tensor = function.apply(flat, weight, offset, use)  # type: ignore[no-untyped-call]
        call.current.enter(result)
        return result if len(leading) == 1 else result.view(count, *leading, -1)

    with without_autocast(inputs.device):
        inputs = inputs if inputs.dtype == dtype else inputs.to(dtype)
        operands = (inputs, parameter, bias if inside else None)
        result = on_all_samples(body, call.current.sample, *operands)
    return result if bias is None or inside else plus(result, call.perturbed(bias), used.name)


def computed_in(inputs: Tensor, weight: Tensor) -> torch.dtype | None:
    """The type of a product, which autocast may choose; `None` if torch refuses to mix these."""
    device = inputs.device.type
    casts = torch.is_autocast_enabled(device) and inputs.is_floating_point()
    if casts and torch.float64 not in {inputs.dtype, weight.dtype}:
        return torch.get_autocast_dtype(device)
    return inputs.dtype if inputs.dtype == weight.dtype else None


def plus(product: Tensor, bias: Tensor, weight: str | None = None) -> Tensor:
    """A product and a bias of any shape that torch takes: from `()` to that of the product."""
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


def _fits(bias: Tensor, dtype: torch.dtype) -> bool:
    """Whether torch adds a bias to a product of this type, as autocast may cast it."""
    casts = torch.is_autocast_enabled(bias.device.type) and bias.is_floating_point()
    return bias.dtype == dtype or (casts and torch.float64 not in {bias.dtype, dtype})
