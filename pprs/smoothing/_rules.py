"""What becomes of the torch functions that receive a parameter, where there is a better way."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from pprs.smoothing._conv import Conv, ConvUse
from pprs.smoothing._cost import LinearShape, choose
from pprs.smoothing._draws import Target
from pprs.smoothing._lanes import Operand, innermost, on_all_lanes
from pprs.smoothing._linear import ImplicitLinear, LinearUse, MaterialisedLinear
from pprs.smoothing._pass import Rule, Smoothed, Weight

Func = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def _linear(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    return _read_linear(mode, *args, **kwargs)


def _read_linear(mode: Smoothed, input: Any, weight: Any, bias: Any = None) -> Any:
    used = mode.weight(weight)
    if used is None or weight.dim() != 2:
        return NotImplemented
    return _apply_linear(mode, input, used, bias)


def _matmul(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    if kwargs or len(args) != 2:
        return NotImplemented
    left, right = args
    used = mode.weight(right)
    if used is not None and right.dim() == 2:
        return _apply_linear(mode, left, _turned(used), None)
    used = mode.weight(left)
    if used is None or left.dim() != 2 or right.dim() not in {1, 2}:
        return NotImplemented
    # W B = (Bᵀ Wᵀ)ᵀ: the columns of B are the inputs.
    result = _apply_linear(mode, right if right.dim() == 1 else mode.valued(right).mT, used, None)
    return result.mT if isinstance(result, Tensor) and result.dim() == 2 else result


def _rmatmul(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    return _matmul(mode, func, args[::-1], kwargs)


def _addmm(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    if len(args) != 3 or any(kwargs.get(key, 1) != 1 for key in ("beta", "alpha")):
        return NotImplemented
    offset, left, right = args
    used = mode.weight(right)
    if used is None or set(kwargs) - {"beta", "alpha"}:
        return NotImplemented
    if offset.dim() == 1:
        return _apply_linear(mode, left, _turned(used), offset)
    result = _apply_linear(mode, left, _turned(used), None)
    return result if result is NotImplemented else mode.valued(offset) + result


def _turned(used: Weight) -> Weight:
    return Weight(used.target, not used.transposed)


def _apply_linear(mode: Smoothed, inputs: Any, used: Weight, bias: Any) -> Any:
    own = mode.weight(bias)  # a bias that is a parameter is perturbed where it is added
    inputs, bias = mode.valued(inputs), mode.valued(bias) if own is None else bias
    parameter = used.target.parameter
    device = inputs.device.type
    casts = torch.is_autocast_enabled(device) and inputs.dtype != torch.float64
    if casts:
        dtype = torch.get_autocast_dtype(device)
        inputs = inputs.to(dtype)
        bias = bias if bias is None or own else bias.to(dtype)
    elif inputs.dtype != parameter.dtype:
        return NotImplemented  # torch's own error says it best
    width = parameter.shape[0 if used.transposed else 1]
    if inputs.dim() == 0 or inputs.shape[-1] != width or inputs.numel() == 0:
        return NotImplemented
    body = functools.partial(_linear_on_all_lanes, mode, used, None if own is None else own.target)
    if not casts:
        return on_all_lanes(body, mode.lane, inputs, parameter, bias)
    with torch.autocast(device, enabled=False):
        return on_all_lanes(body, mode.lane, inputs, parameter, bias)


def _linear_on_all_lanes(
    mode: Smoothed,
    used: Weight,
    own_bias: Target | None,
    inputs: Operand,
    parameter: Operand,
    bias: Operand | None,
) -> Tensor:
    target, value = used.target, inputs.value
    count = target.lanes.count
    shared = inputs.shared and not value.requires_grad
    if inputs.shared and not shared:
        value = value.expand(count, *value.shape)
    leading = value.shape[:-1] if shared else value.shape[1:-1]
    flat = value.reshape(*(() if shared else (count,)), -1, value.shape[-1])
    weight = parameter.value
    if used.transposed:
        weight = mode.enter(weight.T)
    use = LinearUse(target, used.transposed, shared, own_bias)
    function = ImplicitLinear if _goes_implicit(target, flat, weight, shared) else MaterialisedLinear
    result: Tensor = function.apply(flat, weight, None if bias is None else bias.value, use)  # type: ignore[no-untyped-call]
    return mode.enter(result).view(count, *leading, -1)


def _goes_implicit(
    target: Target, inputs: Tensor, weight: Tensor, shared: bool, positions: int | None = None
) -> bool:
    """Whether a linear map of ``(..., n, in)``, or a convolution with n outputs, forms no X."""
    if target.drawn is not None or target.materialised or target.touched:
        return False  # X is known in part: one more use must agree with it
    lanes = target.lanes
    rows = inputs.shape[-2] if positions is None else positions
    shape = LinearShape(
        lanes.streams,
        rows * (1 if shared else lanes.share),
        weight[0].numel(),
        len(weight),
        inputs.requires_grad,
        inputs.is_cuda,
        positions is not None,
    )
    return choose(shape) == "implicit"


def _embedding(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    return _read_embedding(mode, *args, **kwargs)


def _read_embedding(
    mode: Smoothed,
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    used = mode.weight(weight)
    if used is None or used.transposed:
        return NotImplemented
    target = used.target
    if max_norm is not None:
        raise RuntimeError(
            f"embedding(max_norm={max_norm}) changes parameter {target.name!r} while the loss is "
            f"computed: a perturbed copy cannot keep the change. Build it with max_norm=None"
        )
    if target.drawn is not None or target.materialised:
        return NotImplemented

    def body(index: Operand, parameter: Operand) -> Tensor:
        if scale_grad_by_freq and not index.shared:
            raise RuntimeError("embedding(scale_grad_by_freq=True) of tokens that vary over lanes")
        found = F.embedding(
            index.value,
            parameter.value,
            padding_idx,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )
        count = target.lanes.count
        lookup = index.value.expand(count, *index.value.shape) if index.shared else index.value
        return mode.enter(found) + target.rows(lookup)

    return on_all_lanes(body, mode.lane, mode.valued(input), target.parameter)


def _conv(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    return _read_conv(mode, *args, **kwargs)


def _read_conv(
    mode: Smoothed,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    used, space = mode.weight(weight), weight.dim() - 2
    inputs, bias = mode.valued(input), mode.valued(bias)
    if padding == "valid":
        padding = 0
    if used is None or isinstance(padding, str) or inputs.dim() not in {space + 1, space + 2}:
        return NotImplemented
    device, target = inputs.device.type, used.target
    if torch.is_autocast_enabled(device) and inputs.dtype != torch.float64:
        inputs = inputs.to(torch.get_autocast_dtype(device))
        bias = None if bias is None else bias.to(inputs.dtype)
    elif inputs.dtype != target.parameter.dtype:
        return NotImplemented
    options = [_per_dimension(setting, space) for setting in (stride, padding, dilation)]

    def body(inputs: Operand, parameter: Operand) -> Tensor:
        value = inputs.value
        shared = inputs.shared and not value.requires_grad
        if inputs.shared and not shared:
            value = value.expand(target.lanes.count, *value.shape)
        lead = value.shape[: -space - 1] if shared else value.shape[1 : -space - 1]
        value = value.reshape(*(() if shared else value.shape[:1]), -1, *value.shape[-space - 1 :])
        use = ConvUse(target, shared, *options, groups)
        positions = value.shape[-space - 2] * math.prod(use.output_space(value))
        weight = parameter.value
        if use.unfolds and _goes_implicit(target, value, weight, shared, positions):
            result = _unfolded_conv(mode, use, value, weight)
        else:
            result = mode.enter(Conv.apply(value, weight, use))  # type: ignore[no-untyped-call]
        return result.reshape(len(result), *lead, *result.shape[2:])

    with torch.autocast(device, enabled=False):
        result = on_all_lanes(body, mode.lane, inputs, target.parameter)
    return result if bias is None else result + bias.view(-1, *[1] * space)


def _unfolded_conv(mode: Smoothed, use: ConvUse, inputs: Tensor, weight: Tensor) -> Tensor:
    """A convolution as a linear map of patches, which few positions make cheaper."""
    rows = use.unfold(inputs)
    flat = mode.enter(weight.flatten(1))
    outputs = ImplicitLinear.apply(rows, flat, None, LinearUse(use.target, False, use.shared))  # type: ignore[no-untyped-call]
    space = use.output_space(inputs)
    return mode.enter(outputs).unflatten(1, (-1, *space)).movedim(-1, 2).contiguous()


def _per_dimension(setting: Any, space: int) -> tuple[int, ...]:
    return (setting,) * space if isinstance(setting, int) else tuple(setting) * (space // len(setting))


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
        if isinstance(results[0], Tensor):
            return torch.stack(results)
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True))

    return on_all_lanes(body, mode.lane, *(leaves[place] for place in places))


def _in_single(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """Losses that autocast computes in float32, which under vmap it would forget."""
    if not (args and isinstance(args[0], Tensor) and torch.is_autocast_enabled(args[0].device.type)):
        return NotImplemented
    first = args[0] if args[0].dtype == torch.float64 else args[0].float()
    return func(first, *args[1:], **kwargs)


def _attention(mode: Smoothed, func: Func, args: Args, kwargs: Kwargs) -> Any:
    """Lanes become part of the batch: vmap has no rule for the fast attention of CPUs."""
    return _read_attention(*args, **kwargs, mode=mode) if innermost() else NotImplemented


def _read_attention(
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

    def merged(operand: Operand, batch: int) -> Tensor:
        lanes = operand.value.expand(count, *operand.value.shape) if operand.shared else operand.value
        return lanes.expand(count, batch, *lanes.shape[2:]).flatten(0, 1)

    def body(*operands: Operand) -> Tensor:
        mask = operands[3]
        if mask is not None and not (mask.shared and mask.value.dim() == 2):
            padded = mask.value[(slice(None),) * (not mask.shared) + (None,) * (4 - attn_mask.dim())]
            mask = Operand(merged(Operand(padded, mask.shared), batch), shared=False)
        parts = [merged(operand, batch) for operand in operands[:3]]
        result = F.scaled_dot_product_attention(*parts, mask and mask.value, *options, **more)
        return result.unflatten(0, (count, batch))

    return on_all_lanes(body, mode.lane, query, key, value, attn_mask)


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


_WITHOUT_VMAP = """lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
bilinear prelu _weight_norm""".split()
_METADATA = """shape dtype device layout ndim requires_grad is_leaf grad grad_fn is_cuda is_cpu is_sparse
is_quantized is_meta is_nested is_mkldnn is_xpu itemsize nbytes names retains_grad output_nr
_version""".split()
_METADATA_METHODS = """size dim stride numel nelement element_size is_contiguous is_floating_point
is_complex is_signed get_device ndimension storage_offset data_ptr dim_order has_names __len__
__hash__ is_pinned register_hook""".split()


def _rules() -> dict[Func, Rule]:
    tensor = torch.Tensor
    rules: dict[Func, Rule] = {
        F.linear: _linear,
        F.embedding: _embedding,
        F.multi_head_attention_forward: _composite,
        F.embedding_bag: _one_by_one,
        tensor.__rmatmul__: _rmatmul,
    }
    rules |= dict.fromkeys([F.conv1d, F.conv2d, F.conv3d], _conv)
    rules |= dict.fromkeys([getattr(torch, name) for name in _WITHOUT_VMAP], _one_by_one)
    rules |= dict.fromkeys([torch.addmm, tensor.addmm], _addmm)
    products = [torch.mm, tensor.mm, torch.matmul, tensor.matmul, tensor.__matmul__]
    rules |= dict.fromkeys(products, _matmul)
    turns = [torch.t, tensor.t, torch.transpose, tensor.transpose, torch.swapaxes, tensor.swapaxes]
    turns += [getattr(tensor, name).__get__ for name in ("T", "mT")]
    rules |= dict.fromkeys(turns, _transposed)
    known = [getattr(tensor, name, None) for name in _METADATA]
    metadata = [getter.__get__ for getter in known if getter is not None]
    metadata += [getattr(tensor, name) for name in _METADATA_METHODS if hasattr(tensor, name)]
    metadata += [torch.numel, torch.is_floating_point, torch.is_complex]
    return rules | dict.fromkeys(metadata, _unperturbed)


RULES = _rules()
WITHOUT_PARAMETERS: dict[Func, Rule] = {
    F.scaled_dot_product_attention: _attention,
    F.cross_entropy: _in_single,
    F.nll_loss: _in_single,
}
