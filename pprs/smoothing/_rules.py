"""What becomes of the torch functions that receive a parameter, where there is a better way."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from pprs.smoothing._attention import attention
from pprs.smoothing._lanes import Operand, on_all_lanes, stacked
from pprs.smoothing._norms import norm
from pprs.smoothing._pass import Args, Func, Kwargs, Rule, Smoothed
from pprs.smoothing._products import addmm, conv, embedding, linear, matmul, rmatmul


def _one_by_one(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """For functions that vmap has no rule for: once for each lane."""
    leaves, structure = tree_flatten((mode.valued(args), mode.valued(kwargs)))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def body(*operands: Operand) -> Any:
        results = []
        for lane in range(mode.lanes.count):
            for place, operand in zip(places, operands, strict=True):
                leaves[place] = operand.value if operand.shared else operand.value[lane]
            lane_args, lane_kwargs = tree_unflatten(leaves, structure)
            results.append(func(*lane_args, **lane_kwargs))
        return stacked(results)

    return on_all_lanes(body, mode.lane, *(leaves[place] for place in places), apart=True)


def _transposed(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    used = mode.weight(args[0])
    if used is None or args[0].dim() != 2:
        return NotImplemented
    dims = {d % 2 for d in (*args[1:], *kwargs.values())}
    if dims not in (set(), {0, 1}):
        return NotImplemented
    return mode.view(used, func(*args, **kwargs))


def _unperturbed(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    return func(*args, **kwargs)


def _composite(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    with mode:
        return _body(func)(*args, **kwargs)


@functools.cache
def _body(func: Func) -> Func:
    """A Python function of torch without its first step, which is to hand itself to the mode."""
    assert isinstance(func, FunctionType)
    scope = {**func.__globals__, "has_torch_function": lambda _: False}
    body = FunctionType(func.__code__, scope, func.__name__, func.__defaults__, func.__closure__)
    body.__kwdefaults__ = func.__kwdefaults__
    return body


_WITHOUT_VMAP = (
    "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell "
    "bilinear prelu _weight_norm"
)
_METADATA = (
    "shape dtype device layout ndim requires_grad is_leaf grad grad_fn is_cuda is_cpu is_sparse "
    "is_quantized is_meta is_nested is_mkldnn is_xpu itemsize nbytes names retains_grad output_nr "
    "_version"
)
_METADATA_METHODS = (
    "size dim stride numel nelement element_size is_contiguous is_floating_point is_complex "
    "is_signed get_device ndimension storage_offset data_ptr dim_order has_names __len__ __hash__ "
    "is_pinned"
)


_NORMS = (F.batch_norm, F.instance_norm, F.layer_norm, F.group_norm, F.rms_norm)


def _rules() -> dict[Func, Rule]:
    tensor = torch.Tensor
    rules: dict[Func, Rule] = {
        F.linear: linear,
        F.embedding: embedding,
        F.multi_head_attention_forward: _composite,
        F.embedding_bag: _one_by_one,
        tensor.__rmatmul__: rmatmul,
    }
    rules |= dict.fromkeys([F.conv1d, F.conv2d, F.conv3d], conv)
    rules |= dict.fromkeys([getattr(torch, name) for name in _WITHOUT_VMAP.split()], _one_by_one)
    rules |= dict.fromkeys([torch.addmm, tensor.addmm], addmm)
    products: list[Func] = [torch.mm, tensor.mm, torch.matmul, tensor.matmul, tensor.__matmul__]
    rules |= dict.fromkeys(products, matmul)
    turns: list[Func] = [torch.t, tensor.t, torch.transpose, tensor.transpose]
    turns += [torch.swapaxes, tensor.swapaxes]
    turns += [getattr(tensor, name).__get__ for name in ("T", "mT")]
    rules |= dict.fromkeys(turns, _transposed)
    known = [getattr(tensor, name, None) for name in _METADATA.split()]
    metadata: list[Func] = [getter.__get__ for getter in known if getter is not None]
    metadata += [
        getattr(tensor, name) for name in _METADATA_METHODS.split() if hasattr(tensor, name)
    ]
    metadata += [torch.numel, torch.is_floating_point, torch.is_complex]
    rules |= dict.fromkeys(_NORMS, norm)
    return rules | dict.fromkeys(metadata, _unperturbed)


RULES = _rules()
WITHOUT_PARAMETERS: dict[Func, Rule] = {
    F.scaled_dot_product_attention: attention,
    **dict.fromkeys(_NORMS, norm),
}
