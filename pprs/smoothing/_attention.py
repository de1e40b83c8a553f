"""Attention for all lanes at once."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._lanes import Operand, innermost, on_all_lanes
from pprs.smoothing._pass import Args, Func, Kwargs, Smoothed


def attention(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """Lanes become part of the batch: vmap has no rule for the fast attention of CPUs."""
    return _read(*args, **kwargs, mode=mode) if innermost() else NotImplemented


def _read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *options: Any,
    mode: Smoothed,
    **more: Any,
) -> Any:
    if query.dim() != 4:
        return NotImplemented
    batch, count = query.shape[0], mode.lanes.count
    dimensions = 0 if attn_mask is None else attn_mask.dim()

    def merged(operand: Operand, batch: int) -> Tensor:
        lanes = (
            operand.value.expand(count, *operand.value.shape) if operand.shared else operand.value
        )
        return lanes.expand(count, batch, *lanes.shape[2:]).flatten(0, 1)

    def body(*operands: Any) -> Tensor:
        mask = operands[3]
        if mask is not None and not (mask.shared and mask.value.dim() == 2):
            padded = mask.value[(slice(None),) * (not mask.shared) + (None,) * (4 - dimensions)]
            mask = Operand(merged(Operand(padded, mask.shared), batch), shared=False)
        parts: list[Any] = [merged(operand, batch) for operand in operands[:3]]
        parts.append(None if mask is None else mask.value)
        result: Tensor = F.scaled_dot_product_attention(*parts, *options, **more)
        return result.reshape(count, batch, *result.shape[1:])

    return on_all_lanes(body, mode.lane, query, key, value, attn_mask)
