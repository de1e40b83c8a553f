"""Convolutions at perturbed filters, all samples at once: the samples become groups of channels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._linear import ImplicitLinear, LinearUse, goes_implicit
from pprs.smoothing._once_differentiable import once_differentiable
from pprs.smoothing._pass import Pass
from pprs.smoothing._target import Target
from pprs.smoothing._vmap import Beside, Operand, innermost, not_a_view, on_all_samples
from pprs.smoothing.rules.linear import computed_in, plus
from pprs.smoothing.rules.registry import Call, rule


@rule(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
def conv_transpose(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Each sample's result in one piece of memory, as in a plain pass: one may `view` it."""
    return call.default(*args, **kwargs).contiguous()


@rule(F.conv1d, F.conv2d, F.conv3d)
def conv(
    call: Call,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """`F.conv1d`, `F.conv2d` and `F.conv3d`."""
    used, space = call.parameter(weight), weight.dim() - 2
    inputs, bias = call.perturbed(input), call.perturbed(bias)
    if padding == "valid":
        padding = 0
    if used is None or inputs.dim() not in {space + 1, space + 2}:
        return NotImplemented
    if isinstance(padding, str):
        settings = (stride, padding, dilation, groups)
        return call.default(inputs, weight, bias, *settings).contiguous()
    device, target = inputs.device.type, used.target
    dtype = computed_in(inputs, target.parameter)
    if dtype is None or inputs.numel() == 0:
        return NotImplemented
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(
            f"the convolution with parameter {target.name!r} has {len(weight)} outputs: its bias "
            f"must have the shape ({len(weight)},), got {tuple(bias.shape)}"
        )
    inputs = inputs.to(dtype)
    strides, paddings = _per_dimension(stride, space), _per_dimension(padding, space)
    dilations, beside = _per_dimension(dilation, space), innermost()

    def body(inputs: Operand, parameter: Operand) -> Tensor | Beside:
        value, shared = inputs.value, inputs.shared
        lead = value.shape[: -space - 1] if shared else value.shape[1 : -space - 1]
        if len(lead) != 1:  # else a view would be one more step on the way back
            each = () if shared else value.shape[:1]
            value = value.reshape(*each, -1, *value.shape[-space - 1 :])
        use = _ConvUse(target, shared, strides, paddings, dilations, groups)
        positions = value.shape[-space - 2] * math.prod(use.output_space(value))
        weight = parameter.value
        if use.unfolds and goes_implicit(target, value, weight, shared, positions):
            result = _unfolded(call.current, use, value, weight)
        else:
            if shared and value.requires_grad:
                value = value.expand(target.samples.count, *value.shape)
                use = replace(use, shared=False)
            value = value if use.shared else value.transpose(0, 1)
            result = call.current.enter(_Conv.apply(value, weight, use))  # type: ignore[no-untyped-call]
        if beside and len(lead) == 1:
            return Beside(result)
        return result.transpose(0, 1).reshape(result.shape[1], *lead, *result.shape[2:])

    with torch.autocast(device, enabled=False):
        result = on_all_samples(body, call.current.sample, inputs, target.parameter)
    return result if bias is None else plus(result, bias.view(-1, *[1] * space), target.name)


def _unfolded(current: Pass, use: _ConvUse, inputs: Tensor, weight: Tensor) -> Tensor:
    """A convolution as a linear map of patches, which few positions make cheaper.

    The outputs have the shape `(n, samples, out, *space)`.
    """
    rows = use.unfold(inputs)
    flat = current.enter(weight.flatten(1))
    linear_use = LinearUse(use.target, False, use.shared)
    outputs: Tensor = ImplicitLinear.apply(rows, flat, None, linear_use)  # type: ignore[no-untyped-call]
    shape = (len(outputs), -1, *use.output_space(inputs), len(flat))
    return current.enter(outputs).reshape(shape).movedim(-1, 2).transpose(0, 1).contiguous()


def _per_dimension(setting: Any, space: int) -> tuple[int, ...]:
    return (
        (setting,) * space if isinstance(setting, int) else tuple(setting) * (space // len(setting))
    )


@dataclass(frozen=True)
class _ConvUse:
    """A use of a parameter as the filters of a convolution, arguments as torch's.

    Args:
        target: the parameter, shape `(out, in / groups, *kernel)`.
        shared: the inputs `(n, in, *space)` are the same for all samples, else they are
            `(samples, n, in, *space)`.
        stride: per dimension of space, and so on.
    """

    target: Target
    shared: bool
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def unfolds(self) -> bool:
        """Whether torch can list the patches that the filters meet."""
        return self.groups == 1 and len(self.stride) == 2

    def output_space(self, inputs: Tensor) -> tuple[int, ...]:
        """The size of the output along each dimension of space."""
        kernel = self.target.parameter.shape[2:]
        sizes = inputs.shape[-len(kernel) :]
        settings = zip(sizes, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in settings)

    def unfold(self, inputs: Tensor) -> Tensor:
        """The patches, one a row: `(n * positions, in * kernel)`, by sample if not shared."""
        images = inputs if self.shared else inputs.flatten(0, 1)
        kernel = self.target.parameter.shape[2:]
        patches = F.unfold(images, kernel, self.dilation, self.padding, self.stride).mT
        return patches.reshape(*(() if self.shared else inputs.shape[:1]), -1, patches.shape[-1])

    def convolve(self, inputs: Tensor, weight: Tensor, groups: int) -> Tensor:
        """The convolution, without bias, with a number of groups."""
        return torch.convolution(inputs, weight, None, *self._options(groups))

    def gradients(
        self, grad: Tensor, inputs: Tensor, weight: Tensor, groups: int, *wanted: bool
    ) -> tuple[Any, Any, None]:
        """The gradients of inputs and weight, as wanted."""
        options = (*self._options(groups), [*wanted, False])
        backward: Any = torch.ops.aten.convolution_backward
        return backward(grad, inputs, weight, None, *options)  # type: ignore[no-any-return]

    def _options(self, groups: int) -> tuple[Any, ...]:
        not_transposed = (False, [0] * len(self.stride))
        return (self.stride, self.padding, self.dilation, *not_transposed, groups)


class _Conv(torch.autograd.Function):
    """`forward(inputs, weight, use)`: of inputs `(n, samples, in, *space)`, or as `use` says.

    The output has the shape `(n, samples, out, *space)`. The gradient of the filters is one
    ordinary convolution over the examples of all samples.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, use: _ConvUse) -> Tensor:
        weights = use.target.weights(inputs.dtype)
        ctx.use = use
        ctx.save_for_backward(inputs, weight)
        count, groups = use.target.samples.count, use.groups
        if use.shared and groups > 1:
            inputs = inputs.unsqueeze(1).expand(-1, count, *inputs.shape[1:])
        if not use.shared or groups > 1:
            inputs, groups = inputs.flatten(1, 2), count * groups
        # Else it is one convolution with the filters of all samples.
        outputs = use.convolve(inputs, weights.flatten(0, 1), groups)
        return _apart(outputs, count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        use: _ConvUse = ctx.use
        for_inputs = for_weight = None
        if ctx.needs_input_grad[0]:
            count, weights = use.target.samples.count, use.target.weights(inputs.dtype)
            # Of the inputs only the shape counts: their memory need not be laid out anew.
            anyhow = inputs.reshape(inputs.shape[0], -1, *inputs.shape[3:])
            beside = (grad.flatten(1, 2), anyhow, weights.flatten(0, 1), count * use.groups)
            for_inputs = _apart(use.gradients(*beside, True, False)[0], count)
        if ctx.needs_input_grad[1]:
            merged = (grad.sum(1), inputs)
            if not use.shared:
                merged = (grad.flatten(0, 1), inputs.flatten(0, 1))
            narrow = weight.to(grad.dtype)
            found = use.gradients(*merged, narrow, use.groups, False, True)[1]
            for_weight = found.to(weight.dtype)
        return for_inputs, for_weight, None


def _apart(beside: Tensor, count: int) -> Tensor:
    """`(n, samples * channels, ...)` to `(n, samples, channels, ...)`."""
    shape = (len(beside), count, beside.shape[1] // count, *beside.shape[2:])
    return not_a_view(beside.contiguous(), *shape)
