"""Convolutions at perturbed filters, all samples at once: the samples become groups of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pprs.smoothing._once_differentiable import once
from pprs.smoothing._target import Target
from pprs.smoothing._vmap import not_a_view


@dataclass(frozen=True)
class ConvUse:
    """A use of a parameter as the filters of a convolution, arguments as torch's.

    Args:
        target: the parameter, shape ``(out, in / groups, *kernel)``.
        shared: the inputs ``(n, in, *space)`` are the same for all samples, else they are
            ``(samples, n, in, *space)``.
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
        """The patches, one a row: ``(n * positions, in * kernel)``, by sample if not shared."""
        images = inputs if self.shared else inputs.flatten(0, 1)
        kernel = self.target.parameter.shape[2:]
        patches = F.unfold(images, kernel, self.dilation, self.padding, self.stride).mT
        return patches.reshape(*(() if self.shared else inputs.shape[:1]), -1, patches.shape[-1])

    def convolve(self, inputs: Tensor, weight: Tensor, groups: int) -> Tensor:
        """The convolution, without bias, with so many groups."""
        turned = (False, [0] * len(self.stride))
        options = (self.stride, self.padding, self.dilation, *turned, groups)
        return torch.convolution(inputs, weight, None, *options)

    def gradient(
        self, grad: Tensor, inputs: Tensor, weight: Tensor, groups: int, of_weight: bool
    ) -> Tensor:
        """The gradient of the inputs, or that of the weight."""
        turned = (False, [0] * len(self.stride))
        options = (self.stride, self.padding, self.dilation, *turned, groups)
        mask = [not of_weight, of_weight, False]
        gradients = torch.ops.aten.convolution_backward(grad, inputs, weight, None, *options, mask)
        chosen: Tensor = gradients[1 if of_weight else 0]
        return chosen


class _Conv(torch.autograd.Function):
    """``forward(inputs, weight, use)``: the output has the shape ``(samples, n, out, *space)``.

    The gradient of the filters is one ordinary convolution over the examples of all samples.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, use: ConvUse) -> Tensor:
        weights = use.target.stacked().to(inputs.dtype)
        ctx.use = use
        ctx.save_for_backward(inputs, weight, weights)
        count = use.target.samples.count
        if use.shared:
            if use.groups == 1:  # one convolution with the filters of all samples
                return _apart(use.convolve(inputs, weights.flatten(0, 1), 1), count)
            inputs = inputs.expand(count, *inputs.shape)
        outputs = use.convolve(_beside(inputs), weights.flatten(0, 1), count * use.groups)
        return _apart(outputs, count)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, weights = ctx.saved_tensors
        use: ConvUse = ctx.use
        for_inputs = for_weight = None
        if ctx.needs_input_grad[0]:
            count = use.target.samples.count
            arguments = (_beside(grad), _beside(inputs), weights.flatten(0, 1))
            beside = use.gradient(*arguments, count * use.groups, of_weight=False)
            for_inputs = _apart(beside, count)
        if ctx.needs_input_grad[1]:
            merged = (
                (grad.sum(0), inputs) if use.shared else (grad.flatten(0, 1), inputs.flatten(0, 1))
            )
            for_weight = use.gradient(
                *merged, weight.to(grad.dtype), use.groups, of_weight=True
            ).to(weight.dtype)
        return for_inputs, for_weight, None


def _beside(samples: Tensor) -> Tensor:
    """``(samples, n, channels, ...)`` to ``(n, samples * channels, ...)``."""
    return samples.transpose(0, 1).flatten(1, 2)


def _apart(beside: Tensor, count: int) -> Tensor:
    shape = (len(beside), count, -1, *beside.shape[2:])
    apart = beside.reshape(shape).transpose(0, 1).contiguous()
    return not_a_view(apart, *apart.shape)
