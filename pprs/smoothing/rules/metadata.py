"""What becomes of the torch functions that receive a parameter, where there is a better way."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._one_by_one import one_by_one
from pprs.smoothing._pass import Args, Func, Kwargs, Rule, Smoothed, changes
from pprs.smoothing._vmap import last_sample, ours, underlying, varies
from pprs.smoothing.rules.attention import attention
from pprs.smoothing.rules.linear import addmm, conv, embedding, linear, matmul, rmatmul
from pprs.smoothing.rules.normalisation import norm


def _one_by_one(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """For functions that vmap has no rule for: once for each sample."""
    return one_by_one(mode.sample, mode.samples.count, func, mode.valued(args), mode.valued(kwargs))


def _packed(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """To or from packed sequences, whose lengths all samples share: so the second result is one."""
    if not varies(args[0]) or any(isinstance(arg, Tensor) and varies(arg) for arg in args[1:]):
        return NotImplemented
    sequences, counts = one_by_one(mode.sample, mode.samples.count, func, args, kwargs)
    return sequences, last_sample(counts)


def _side_by_side(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """Each sample's result in one piece of memory, as in a plain pass: one may ``view`` it."""
    return mode.called(func, mode.valued(args), mode.valued(kwargs)).contiguous()


def _bag(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    used, max_norm = mode.weight(args[1]), [*args[3:4], kwargs.get("max_norm")][0]
    if used is not None and max_norm is not None:
        raise changes(f"embedding_bag(max_norm={max_norm})", used.target.name)
    if used is not None and [*args[6:7], kwargs.get("sparse")][0]:
        raise RuntimeError(
            f"embedding_bag(sparse=True) of parameter {used.target.name!r}: the perturbations "
            f"have no sparse gradient of it together. Set it to False"
        )
    return _one_by_one(mode, func, args, kwargs)


def _transposed(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    used = mode.weight(args[0]) if args else None
    if used is None or args[0].dim() != 2 or not torch.is_grad_enabled():
        return NotImplemented  # a view that is made under no_grad has no gradient
    dims = {d % 2 for d in (*args[1:], *kwargs.values())}
    if dims not in (set(), {0, 1}):
        return NotImplemented
    return mode.view(used, ours(functools.partial(func, *args, **kwargs)))


def _unperturbed(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    return ours(func, *args) if not kwargs else ours(functools.partial(func, *args, **kwargs))


def _data(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """``.data``: as ``.detach()``, whose changes are noticed."""
    return mode.valued(args[0]).detach()


def _of_all_samples(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """What autograd knows of a tensor, which vmap hides."""
    return func(underlying(args[0]), *args[1:], **kwargs)


def _no_hooks(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    raise RuntimeError(
        f"{func.__name__} inside the closure: the tensor holds all perturbations, which run "
        f"together, and torch.func.vmap knows no hooks and no .grad inside"
    )


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


_NORMS = [
    getattr(place, f"{kind}_norm")
    for kind in ("batch", "instance", "layer", "group", "rms")
    for place in (F, torch)
]


def _rules() -> dict[Func, Rule]:
    tensor = torch.Tensor
    rules: dict[Func, Rule] = {
        F.linear: linear,
        F.embedding: embedding,
        F.multi_head_attention_forward: _composite,
        F.embedding_bag: _bag,
        F.scaled_dot_product_attention: attention,
        tensor.__rmatmul__: rmatmul,
    }
    rules |= dict.fromkeys([F.conv1d, F.conv2d, F.conv3d], conv)
    turned = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]
    rules |= dict.fromkeys(turned, _side_by_side)
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
    rules[tensor.data.__get__] = _data  # type: ignore[attr-defined]
    return rules | dict.fromkeys(metadata, _unperturbed) | dict.fromkeys(_HOOKS, _no_hooks)


_HOOKS: list[Func] = [
    torch.Tensor.register_hook,
    torch.Tensor.register_post_accumulate_grad_hook,
    torch.Tensor.retain_grad,
]
RULES = _rules()
WITHOUT_PARAMETERS: dict[Func, Rule] = {
    **{
        getattr(torch.Tensor, name).__get__: _of_all_samples
        for name in ("requires_grad", "grad_fn", "is_leaf")
    },
    **dict.fromkeys(_HOOKS, _no_hooks),
    F.scaled_dot_product_attention: attention,
    **dict.fromkeys(_NORMS, norm),
    **dict.fromkeys([torch._pack_padded_sequence, torch._pad_packed_sequence], _packed),
}
