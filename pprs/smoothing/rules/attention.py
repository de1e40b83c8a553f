"""Attention for all samples at once."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._pass import Args, Func, Kwargs, Smoothed
from pprs.smoothing._vmap import Operand, innermost, on_all_samples


def attention(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """Samples become part of the batch: vmap has no rule for the fast attention of CPUs."""
    if not innermost():
        return NotImplemented
    return _read(*mode.valued(args), **mode.valued(kwargs), mode=mode)


def _read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *options: Any,
    mode: Smoothed,
    **more: Any,
) -> Any:
    if {query.dim(), key.dim(), value.dim()} != {4}:
        return NotImplemented
    dimensions = 4 if attn_mask is None else attn_mask.dim()
    batches = [tensor.shape[0] for tensor in (query, key, value)]
    if attn_mask is not None and dimensions == 4:
        batches.append(attn_mask.shape[0])
    batch = max(batches)
    count = mode.samples.count

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

    return on_all_samples(body, mode.sample, query, key, value, attn_mask)
