"""What torch's autocast does to functions: under vmap, it forgets those that vmap takes apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves, tree_map_only

Policy: TypeAlias = Literal["lower", "widest", "single", "none"]

# How autocast casts what it knows by name; all that is not here is computed in float32.
_LOWER = (
    "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d convolution "
    "prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm bmm "
    "chain_matmul linalg_multi_dot lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell "
    "scaled_dot_product_attention"
)
_WIDEST = (
    "cat stack index_copy addcdiv addcmul atan2 bilinear cross dot vdot index_put tensordot "
    "scatter_add"
)
# By vmap, into products that autocast knows, where it does not know the whole.
_TAKEN_APART = frozenset(["mv", "dot", "vdot", "tensordot", "addmv"])
# Functions of other names, or of other functions: each as what it ends in, or is made of.
_NAMES: dict[Callable[..., Any] | str, str] = {
    "cross_entropy_loss": "nll_loss",
    torch.Tensor.__pow__: "pow",
    torch.Tensor.__rpow__: "pow",
    torch.Tensor.__matmul__: "matmul",
    torch.Tensor.__rmatmul__: "matmul",
    torch.linalg.cross: "cross",
    torch.linalg.norm: "norm",
    F.cross_entropy: "nll_loss",
    F.gaussian_nll_loss: "pow",
    F.grid_sample: "grid_sampler",
    F.gumbel_softmax: "softmax",
    F.interpolate: "upsample_nearest1d",
    F.normalize: "norm",
    F.softmin: "softmax",
}


_AS_IT_IS = nullcontext()


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """A block in which operations keep the types of their operands."""
    if not torch.is_autocast_enabled(device.type):
        return _AS_IT_IS
    return torch.autocast(device.type, enabled=False)


def call(device: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function under vmap; where autocast is on, with operands cast as it casts them.

    Args:
        device: the type of device that the pass runs on.
        func: any function, with its arguments.
        args: positional ones.
        kwargs: the others.
    """
    if not torch.is_autocast_enabled(device):
        return func(*args, **kwargs)
    policy = _policies(device).get(_key(func))
    if policy is None or kwargs.get("dtype") is not None or kwargs.get("out") is not None:
        return func(*args, **kwargs)

    def eligible(tensor: Tensor) -> bool:
        wide = tensor.dtype == torch.float64 or not tensor.is_floating_point()
        return not wide and tensor.device.type == device

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if eligible(tensor) else tensor

    dtype = torch.get_autocast_dtype(device)
    if policy == "single":
        dtype = torch.float32
    elif policy == "widest":
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(eligible(tensor) and tensor.dtype == torch.float32 for tensor in given):
            dtype = torch.float32
    if policy != "none":
        args, kwargs = tree_map_only(Tensor, cast, (args, kwargs))
    with torch.autocast(device, enabled=False):
        return func(*args, **kwargs)


def widens(device: str, func: Callable[..., Any]) -> bool:
    """Whether autocast is on and computes this function in float32."""
    return torch.is_autocast_enabled(device) and _policies(device).get(_key(func)) == "single"


def _key(func: Callable[..., Any]) -> Callable[..., Any] | str:
    """A trace calls operations where a model calls functions: these go by their names."""
    name: str = func._schema.name if isinstance(func, OpOverload) else ""
    return name.removeprefix("aten::") or func


@functools.cache
def _policies(device: str) -> dict[Callable[..., Any] | str, Policy]:
    """What autocast does to each function and operation on this type of device."""
    known = {name.removeprefix("aten::").split(".")[0] for name in _registered(device)}
    if device != "cpu":
        known -= {"binary_cross_entropy"}  # which it refuses by itself
    policies: dict[Callable[..., Any] | str, Policy] = {}
    operations = {name: name for name in known | _TAKEN_APART}
    named = [*_functions(operations), *_NAMES.items(), *operations.items()]
    for func, name in named:
        if name in known:
            policies[func] = _policy(name, device)
        elif name in _TAKEN_APART:
            policies[func] = "none"
    return policies


def _policy(name: str, device: str) -> Policy:
    if name in _LOWER.split():
        return "lower"
    widest = name in _WIDEST.split() or (name == "grid_sampler" and device != "cpu")
    return "widest" if widest else "single"


def _registered(device: str) -> list[str]:
    key = f"Autocast{device.upper()}"
    names: list[str] = torch._C._dispatch_get_registrations_for_dispatch_key(key)
    return names


def _functions(names: Iterable[str]) -> Iterator[tuple[Callable[..., Any], str]]:
    """The functions of torch that bear these names, in all places."""
    places: list[tuple[Any, str]] = [
        (torch, ""),
        (torch.Tensor, ""),
        (F, ""),
        (torch._C._nn, ""),
        (torch.linalg, "linalg_"),
        (torch.fft, "fft_"),
    ]
    for name in names:
        for place, prefix in places:
            func = getattr(place, name.removeprefix(prefix), None)
            if name.startswith(prefix) and callable(func):
                yield func, name
