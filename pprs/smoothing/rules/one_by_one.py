"""Functions that vmap has no rule for: they are called once for each sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._one_by_one import one_by_one
from pprs.smoothing._vmap import last_sample, varies
from pprs.smoothing.rules.registry import Call, rule

_RECURRENT = "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"
_OTHERS = "bilinear prelu _weight_norm"


@rule(*(getattr(torch, name) for name in f"{_RECURRENT} {_OTHERS}".split()))
def each(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Once for each sample, at its parameters."""
    sample, count = call.current.sample, call.current.samples.count
    return one_by_one(sample, count, call.function, call.perturbed(args), call.perturbed(kwargs))


@rule(torch._pack_padded_sequence, torch._pad_packed_sequence, any_call=True)
def packed(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Packed sequences, made or undone; all samples share their lengths: one second result."""
    if not varies(args[0]) or any(isinstance(arg, Tensor) and varies(arg) for arg in args[1:]):
        return NotImplemented
    sequences, counts = each(call, *args, **kwargs)
    return sequences, last_sample(counts)
