"""Attention for all samples at once."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._vmap import Operand, innermost, on_all_samples
from pprs.smoothing.rules.registry import Call, rule


@rule(F.multi_head_attention_forward)
def multi_head(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Torch's own Python, with rules for what it is made of."""
    return call.inside(_body(call.function), *args, **kwargs)


@functools.cache
def _body(function: Any) -> Any:
    """A Python function of torch without its first step, which is to hand itself to the mode."""
    assert isinstance(function, FunctionType)
    scope = {**function.__globals__, "has_torch_function": lambda _: False}
    kept = (function.__name__, function.__defaults__, function.__closure__)
    body = FunctionType(function.__code__, scope, *kept)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


@rule(F.scaled_dot_product_attention, any_call=True)
def attention(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Samples become part of the batch: vmap has no rule for the fast attention of CPUs."""
    if not innermost():
        return NotImplemented
    return _attention(call, *call.perturbed(args), **call.perturbed(kwargs))


def _attention(
    call: Call,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *options: Any,
    **more: Any,
) -> Any:
    if {query.dim(), key.dim(), value.dim()} != {4}:
        return NotImplemented
    dimensions = 4 if attn_mask is None else attn_mask.dim()
    batches = [tensor.shape[0] for tensor in (query, key, value)]
    if attn_mask is not None and dimensions == 4:
        batches.append(attn_mask.shape[0])
    batch = max(batches)
    count = call.current.samples.count

    def merged(operand: Operand) -> Tensor:
        tensor = operand.value[None] if operand.shared else operand.value
        return tensor.expand(count, batch, *tensor.shape[2:]).flatten(0, 1)

    def body(*operands: Any) -> Tensor:
        mask = operands[3]
        if mask is not None and not (mask.shared and dimensions == 2):
            ones = (None,) * (4 - dimensions)
            value = mask.value[ones if mask.shared else (slice(None), *ones)]
            mask = Operand(merged(Operand(value, mask.shared)), shared=False)
        parts: list[Any] = [merged(operand) for operand in operands[:3]]
        parts.append(None if mask is None else mask.value)
        result: Tensor = F.scaled_dot_product_attention(*parts, *options, **more)
        return result.reshape(count, batch, *result.shape[1:])

    return on_all_samples(body, call.current.sample, query, key, value, attn_mask)
