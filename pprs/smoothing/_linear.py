"""Linear maps at perturbed weights, all lanes at once: one product with the shared weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pprs.smoothing._draws import Target
from pprs.smoothing._gram import Factor, Known, factor
from pprs.smoothing._noise import Role


@dataclass(frozen=True)
class LinearUse:
    """A use of a parameter as the weight of a linear map.

    Args:
        target: the parameter.
        transposed: the parameter is ``(in, out)``, not ``(out, in)``.
        shared: the inputs ``(n, in)`` are the same for all lanes, else they are
            ``(lanes, n, in)``.
        bias: the parameter that is the bias, if that is perturbed too.
    """

    target: Target
    transposed: bool
    shared: bool
    bias: Target | None = None

    @property
    def scale_out(self) -> Tensor | None:
        """The noise's scale along the outputs, shape ``(out,)``."""
        scale = self.target.scale
        return None if scale is None or self.transposed else scale.flatten()

    @property
    def scale_in(self) -> Tensor | None:
        """The noise's scale along the inputs, shape ``(in,)``."""
        scale = self.target.scale
        return scale.flatten() if scale is not None and self.transposed else None

    def weights(self) -> Tensor:
        """The materialised weights, shape ``(lanes, out, in)``."""
        stacked = self.target.stacked().flatten(2)
        return stacked.mT if self.transposed else stacked

    def signs(self, rows: int) -> Tensor | None:
        """The signs of the rows of a pair of lanes, ``rows`` for each."""
        if not self.target.lanes.antithetic:
            return None
        signs = torch.ones((2 * rows, 1), dtype=torch.float64, device=self.target.parameter.device)
        signs[rows:] = -1
        return signs

    def normals(self, role: Role, *shape: int, like: Tensor) -> Tensor:
        """Draws of this parameter, shape ``(streams, *shape)``."""
        target = self.target
        streams = target.lanes.streams
        return target.lanes.noise.normals(
            target.name, role, (streams, *shape), like.dtype, like.device
        )


class ImplicitLinear(torch.autograd.Function):
    r"""$Y = A (W + \sigma X)^T + b$ with X never formed.

    ``forward(inputs, weight, bias, use)``: inputs as ``use`` says, weight ``(out, in)``, bias
    ``(out,)``, ``(lanes, out)`` or ``None``. Inputs that all lanes share get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, use: LinearUse
    ) -> Tensor:
        known = _know(inputs, use, weight.shape[0])
        ctx.use, ctx.signs = use, known.signs
        ctx.bias_by_lane = bias is not None and bias.dim() == 2
        # Saved, so that they are freed on the way back; only an input gradient needs most of them.
        factor = known.factor
        parts = (known.rows, known.normals, factor.lower, factor.inverse, factor.jitter)
        ctx.save_for_backward(inputs, weight, *(parts if ctx.needs_input_grad[0] else ()))
        use.target.drawn = Drawn(known, use)
        return _noisy(inputs, weight.to(inputs.dtype), _offset(bias, use, inputs), use, known)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, *parts = ctx.saved_tensors
        use: LinearUse = ctx.use
        gradient = None
        if ctx.needs_input_grad[0]:
            # A backward pass before the forward ended: what comes next must know all of X.
            if use.target.materialised or use.target.open:
                gradient = grad @ use.weights().to(grad.dtype)
            else:
                known = Known(parts[0], ctx.signs, Factor(*parts[2:]), parts[1])
                gradient = _input_gradient(grad, weight.to(grad.dtype), use, known)
        return gradient, *_parameter_gradients(ctx, grad, inputs, weight), None


class MaterialisedLinear(torch.autograd.Function):
    """The same with materialised weights; the gradient of the weight is still one product."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, use: LinearUse
    ) -> Tensor:
        ctx.use = use
        ctx.bias_by_lane = bias is not None and bias.dim() == 2
        weights = use.weights().to(inputs.dtype)
        ctx.save_for_backward(inputs, weight, weights)
        offset = _offset(bias, use, inputs)
        if use.shared:
            lanes, out = weights.shape[:2]
            flat = inputs @ weights.reshape(lanes * out, -1).T
            outputs = flat.view(len(inputs), lanes, out).transpose(0, 1)
            return outputs.contiguous() if offset is None else outputs + offset
        if offset is None:
            return inputs @ weights.mT
        return torch.baddbmm(offset, inputs, weights.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, weights = ctx.saved_tensors
        gradient = grad @ weights if ctx.needs_input_grad[0] else None
        return gradient, *_parameter_gradients(ctx, grad, inputs, weight), None


@dataclass(frozen=True)
class Drawn:
    """What an implicit use has drawn of a parameter's X."""

    known: Known
    use: LinearUse

    def complete(self, free: Tensor) -> Tensor:
        """X, from standard normals of its shape ``(streams, *parameter.shape)``."""
        known, transposed = self.known, self.use.transposed
        residual = self.use.normals(Role.RESIDUAL, *known.normals.shape[1:], like=known.normals)
        matrix = free.flatten(2)  # a convolution's filters are rows
        completed = known.complete(matrix.mT if transposed else matrix, residual)
        return (completed.mT if transposed else completed).reshape(free.shape)


def _know(inputs: Tensor, use: LinearUse, out: int) -> Known:
    rows = inputs if use.scale_in is None else inputs * use.scale_in
    if use.shared:
        rows, signs = rows[None], None
    else:
        lanes = use.target.lanes
        signs = use.signs(rows.shape[1])
        rows = rows.reshape(lanes.streams, -1, rows.shape[-1])
    normals = use.normals(Role.FORWARD, rows.shape[1], out, like=inputs)
    return Known(rows, signs, factor(rows, signs), normals)


def _noisy(
    inputs: Tensor, weight: Tensor, offset: Tensor | None, use: LinearUse, known: Known
) -> Tensor:
    lanes, sigma = use.target.lanes, use.target.sigma
    normals = known.normals if use.scale_out is None else known.normals * use.scale_out
    lower = known.factor.lower.to(inputs.dtype)
    out = weight.shape[0]
    if use.shared:
        clean = inputs @ weight.T if offset is None else inputs @ weight.T + offset
        clean = clean.expand(lanes.count, -1, -1)
        if lanes.antithetic:
            return torch.add(clean, lanes.signed(lower @ normals), alpha=sigma)
        return torch.baddbmm(clean, lower.expand(lanes.count, -1, -1), normals, alpha=sigma)
    # The rows of a pair are drawn with their signs, so nothing is left to turn here.
    if offset is None:
        noisy = torch.bmm(lower * sigma, normals)
    else:
        offset = offset.expand(lanes.count, inputs.shape[1], out)
        noisy = torch.baddbmm(offset.reshape(*normals.shape), lower, normals, alpha=sigma)
    flat = noisy.view(-1, out).addmm_(inputs.reshape(-1, inputs.shape[-1]), weight.T)
    return flat.view(lanes.count, -1, out)


def _input_gradient(grad: Tensor, weight: Tensor, use: LinearUse, known: Known) -> Tensor:
    lanes = use.target.lanes
    left = grad if use.scale_out is None else grad * use.scale_out
    left = left.reshape(lanes.streams, -1, left.shape[-1])

    def draw(rows: int) -> tuple[Tensor, Tensor]:
        free = use.normals(Role.BACKWARD, rows, weight.shape[1], like=grad)
        return free, use.normals(Role.RESIDUAL, rows, known.rows.shape[1], like=grad)

    noise = known.product(left, use.signs(grad.shape[1]), draw)
    if use.scale_in is not None:
        noise *= use.scale_in
    noise = noise.view(-1, weight.shape[1])
    flat = torch.addmm(noise, grad.reshape(-1, grad.shape[-1]), weight, beta=use.target.sigma)
    return flat.view(*grad.shape[:-1], -1)


def _parameter_gradients(
    ctx: Any, grad: Tensor, inputs: Tensor, weight: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    for_weight = for_bias = None
    if ctx.needs_input_grad[1]:
        left = grad.sum(0) if ctx.use.shared else grad.reshape(-1, grad.shape[-1])
        for_weight = (left.T @ inputs.reshape(-1, inputs.shape[-1])).to(weight.dtype)
    if ctx.needs_input_grad[2]:
        for_bias = grad.sum(1) if ctx.bias_by_lane else grad.sum((0, 1))
    return for_weight, for_bias


def _offset(bias: Tensor | None, use: LinearUse, inputs: Tensor) -> Tensor | None:
    """The bias as it is added to outputs ``(lanes, n, out)``."""
    if use.bias is not None:
        bias = use.bias.stacked()
    if bias is None:
        return None
    return (bias[:, None, :] if bias.dim() == 2 else bias).to(inputs.dtype)
