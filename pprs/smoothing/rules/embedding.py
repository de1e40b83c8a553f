"""Look-ups: only the rows that are looked up are perturbed."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._pass import changes
from pprs.smoothing._target import Drawn
from pprs.smoothing._vmap import Operand, on_all_samples
from pprs.smoothing.rules.one_by_one import each
from pprs.smoothing.rules.registry import Call, rule


@rule(F.embedding)
def embedding(
    call: Call,
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """`F.embedding`."""
    used = call.parameter(weight)
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
        return call.current.enter(found) + noise

    return on_all_samples(body, call.current.sample, call.perturbed(input), target.parameter)


@rule(F.embedding_bag)
def bag(
    call: Call,
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    *more: Any,
    **named: Any,
) -> Any:
    """`F.embedding_bag`."""
    used = call.parameter(weight)
    if used is not None and max_norm is not None:
        raise changes(f"embedding_bag(max_norm={max_norm})", used.name)
    if used is not None and sparse:
        raise RuntimeError(
            f"embedding_bag(sparse=True) of parameter {used.name!r}: the perturbations "
            f"have no sparse gradient of it together. Set it to False"
        )
    settings = (offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse)
    return each(call, input, weight, *settings, *more, **named)
