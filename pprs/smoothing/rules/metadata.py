"""What a closure asks of a tensor besides its values: that is no use of a parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._vmap import internally, underlying
from pprs.smoothing.rules.registry import Call, rule

_ATTRIBUTES = (
    "shape dtype device layout ndim grad is_cuda is_cpu is_sparse is_quantized is_meta is_nested "
    "is_mkldnn is_xpu itemsize nbytes names retains_grad output_nr _version"
)
_OF_AUTOGRAD = "requires_grad grad_fn is_leaf"
_METHODS = (
    "size dim numel nelement element_size is_floating_point is_complex "
    "is_signed get_device ndimension storage_offset data_ptr dim_order has_names __len__ __hash__ "
    "is_pinned"
)


def _getters(names: str) -> list[Any]:
    return [getattr(Tensor, name).__get__ for name in names.split() if hasattr(Tensor, name)]


@rule(
    *_getters(_ATTRIBUTES),
    *(getattr(Tensor, name) for name in _METHODS.split() if hasattr(Tensor, name)),
    *(torch.numel, torch.is_floating_point, torch.is_complex),
)
def unperturbed(call: Call, *args: Any, **kwargs: Any) -> Any:
    """The answer of the parameter itself."""
    return internally(call.function, *args, **kwargs)


@rule(*_getters(_OF_AUTOGRAD), any_call=True)
def of_autograd(call: Call, tensor: Tensor, *args: Any) -> Any:
    """What autograd knows of a tensor, which vmap hides."""
    return internally(call.function, underlying(tensor), *args)


@rule(*_getters("data"))
def data(call: Call, tensor: Tensor, *args: Any) -> Any:
    """`.data`: as `.detach()`, whose changes are noticed."""
    return call.perturbed(tensor).detach()


@rule(
    Tensor.register_hook,
    Tensor.register_post_accumulate_grad_hook,
    Tensor.retain_grad,
    any_call=True,
)
def no_hooks(call: Call, *args: Any, **kwargs: Any) -> Any:
    """They are refused."""
    raise RuntimeError(
        f"{call.function.__name__} inside the closure: the tensor holds all perturbations, which "
        f"run together, and torch.func.vmap knows no hooks and no .grad inside"
    )
