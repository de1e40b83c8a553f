"""Linear maps at perturbed weights, all samples at once: one product with the shared weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._autocast import without_autocast
from pprs.smoothing._cost import LinearShape, choose
from pprs.smoothing._gram import Factor, Known, factor, jitter_of
from pprs.smoothing._noise import Role
from pprs.smoothing._once_differentiable import once_differentiable
from pprs.smoothing._target import Drawn, Target
from pprs.smoothing._vmap import not_a_view
from pprs.smoothing.native import few_rows
from pprs.smoothing.native.kernels import Drawing


@dataclass(frozen=True)
class LinearUse:
    """A use of a parameter as the weight of a linear map.

    Args:
        target: the parameter.
        transposed: the parameter is `(in, out)`, not `(out, in)`.
        shared: the inputs `(n, in)` are the same for all samples, else they are
            `(samples, n, in)`.
        bias: the parameter that is the bias, if that is perturbed too.
        cycle: after so many samples the inputs repeat, if they do.
    """

    target: Target
    transposed: bool
    shared: bool
    bias: Target | None = None
    cycle: int | None = None

    def distinct(self, inputs: Tensor) -> Tensor:
        """The inputs without their repetitions, one a row: `(rows, in)`."""
        once = inputs if self.shared or self.cycle is None else inputs[: self.cycle]
        return once.reshape(-1, inputs.shape[-1])

    @property
    def scale_out(self) -> Tensor | None:
        """The noise's scale along the outputs, shape `(out,)`."""
        return None if self.transposed else self.target.norms

    @property
    def scale_in(self) -> Tensor | None:
        """The noise's scale along the inputs, shape `(in,)`."""
        return self.target.norms if self.transposed else None

    def weights(self, dtype: torch.dtype) -> Tensor:
        """The materialised weights, shape `(samples, out, in)`."""
        return self._as_map(self.target.weights(dtype))

    def parts(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """The same of some samples after others, see `Target.parts`."""
        for part, weights in self.target.parts(dtype):
            yield part, self._as_map(weights)

    def _as_map(self, weights: Tensor) -> Tensor:
        weights = weights.flatten(2)
        return weights.mT if self.transposed else weights

    def signs(self, rows: int) -> Tensor | None:
        """The signs of the rows of a pair of samples, `rows` for each."""
        if not self.target.samples.antithetic:
            return None
        signs = torch.ones((2 * rows, 1), dtype=torch.float64, device=self.target.parameter.device)
        signs[rows:] = -1
        return signs


def goes_implicit(
    target: Target, inputs: Tensor, weight: Tensor, shared: bool, positions: int | None = None
) -> bool:
    """Whether a linear map of `(..., n, in)`, or a convolution with n outputs, forms no X."""
    if not target.may_draw(Drawn.PRODUCT):
        return False
    samples = target.samples
    rows = inputs.shape[-2] if positions is None else positions
    shape = LinearShape(
        samples.streams,
        rows * (1 if shared else samples.share),
        weight.numel() // weight.shape[0],
        weight.shape[0],
        not shared,  # whether or not gradients are recorded: the noise must not depend on that
        positions is not None,
        inputs.is_cuda,
        inputs.is_cuda and positions is None and few_rows.takes(inputs),
    )
    return choose(shape) == "implicit"


class ImplicitLinear(torch.autograd.Function):
    r"""$Y = A (W + \sigma X)^T + b$ with X never formed.

    `forward(inputs, weight, bias, use)`: inputs as `use` says, weight `(out, in)`, and the
    parameter of `use.bias`, `(out,)`.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, use: LinearUse
    ) -> Tensor:
        known, noisy = _noise(inputs, use, weight.shape[0])
        ctx.use, ctx.signs = use, known.signs
        # Saved, so that they are freed on the way back; only an input gradient needs most of them.
        factor = known.factor
        parts = (known.rows, known.normals, factor.unit, factor.inverse, factor.lengths)
        ctx.save_for_backward(inputs, weight, *(parts if ctx.needs_input_grad[0] else ()))
        use.target.draw_product(known, use.transposed)
        rows, clean = use.distinct(inputs), _as(weight, inputs.dtype).T
        # The rows of a pair were drawn with their signs: nothing is left to turn here.
        flat = noisy.view(-1, rows.shape[0], weight.shape[0])
        if flat.shape[0] > 1:
            flat.add_(rows @ clean)
        else:
            flat[0].addmm_(rows, clean)
        shape = (use.target.samples.count, inputs.shape[-2], weight.shape[0])
        whole = noisy.shape == shape and not noisy._is_view()
        return noisy if whole else not_a_view(noisy, *shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, *parts = ctx.saved_tensors
        use: LinearUse = ctx.use
        gradient = None
        with without_autocast(grad.device):
            if ctx.needs_input_grad[0]:
                # A backward pass before the forward ended: what comes next must know all of X.
                if use.target.may_draw(Drawn.WHOLE):
                    gradient = grad @ use.weights(grad.dtype)
                else:
                    known = Known(parts[0], ctx.signs, Factor(*parts[2:]), parts[1])
                    gradient = _input_gradient(grad, _as(weight, grad.dtype), use, known)
                gradient = gradient.sum(0) if use.shared else gradient
            return gradient, *_parameter_gradients(ctx, grad, inputs, weight), None


class MaterialisedLinear(torch.autograd.Function):
    """The same with materialised weights; the gradient of the weight is still one product."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, use: LinearUse
    ) -> Tensor:
        ctx.use = use
        ctx.save_for_backward(inputs, weight)
        offset = _offset(use, inputs)
        if not use.shared and not use.target.is_in_parts:
            return _products(inputs, use.weights(inputs.dtype), offset)
        shape = use.target.samples.count, inputs.shape[-2], weight.shape[0]
        outputs = inputs.new_empty(shape)
        for part, weights in use.parts(inputs.dtype):
            of_part = outputs[part]
            if use.shared:  # one product; then each sample's in one piece: one may view it
                flat = inputs @ weights.reshape(-1, weights.shape[-1]).T
                apart = flat.view(shape[1], -1, shape[2]).transpose(0, 1)
                of_part.copy_(apart) if offset is None else torch.add(
                    apart, offset[part], out=of_part
                )
            else:
                added = None if offset is None else offset[part]
                _products(inputs[part], weights, added, of_part)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        use, gradient = ctx.use, None
        with without_autocast(grad.device):
            if ctx.needs_input_grad[0]:
                if use.target.is_in_parts:
                    gradient = grad.new_empty((*grad.shape[:-1], weight.shape[1]))
                    for part, weights in use.parts(grad.dtype):
                        torch.bmm(grad[part], weights, out=gradient[part])
                else:
                    gradient = torch.bmm(grad, use.weights(grad.dtype))
                gradient = gradient.sum(0) if use.shared else gradient
            return gradient, *_parameter_gradients(ctx, grad, inputs, weight), None


def _products(
    inputs: Tensor, weights: Tensor, offset: Tensor | None, out: Tensor | None = None
) -> Tensor:
    """Each sample's inputs at its weights, and what is added to them."""
    if offset is None:
        return torch.bmm(inputs, weights.mT, out=out)
    return torch.baddbmm(offset, inputs, weights.mT, out=out)


def _noise(inputs: Tensor, use: LinearUse, out: int) -> tuple[Known, Tensor]:
    """The noise of the outputs on top of the perturbed bias, and what it tells of X.

    Returns:
        Also the noise, shape `(samples, n, out)`; a pair of samples may stand as `2 n` rows.
    """
    rows = inputs if use.scale_in is None else (inputs * use.scale_in).to(inputs.dtype)
    target, samples = use.target, use.target.samples
    if use.shared:
        rows, signs = rows[None], None
    else:
        signs = use.signs(rows.shape[1])
        rows = rows.reshape(samples.streams, -1, rows.shape[-1])
    if few_rows.takes(rows) and not (use.shared and samples.antithetic):
        return _noise_at_once(rows, signs, use, out)
    normals = target.streams.normals(Role.FORWARD, rows.shape[1], out, like=inputs)
    known = Known(rows, signs, factor(rows, signs), normals)
    if use.scale_out is not None:
        normals = normals * use.scale_out
    noise = (known.factor.lower * target.sigma).to(normals.dtype) @ normals
    noise = noise.to(inputs.dtype)
    if use.shared:
        noise = samples.signed(noise)
    return known, _offset_by(use, noise)


def _noise_at_once(
    rows: Tensor, signs: Tensor | None, use: LinearUse, out: int
) -> tuple[Known, Tensor]:
    target = use.target
    drawing = Drawing(target.streams.key, (Role.FORWARD,), jitter_of(rows), target.sigma)
    bias = None if use.bias is None else use.bias.drawn_inside(rows.dtype)
    noisy, normals, factors = few_rows.forward(
        rows, signs, bias, use.scale_out, out, drawing, target.samples.streams
    )
    known = Known(rows, signs, Factor(*factors), normals)
    return known, noisy if bias is not None else _offset_by(use, noisy)


def _offset_by(use: LinearUse, noise: Tensor) -> Tensor:
    offset = _offset(use, noise)
    if offset is None:
        return noise
    return noise.view(use.target.samples.count, -1, noise.shape[-1]).add_(offset)


def _input_gradient(grad: Tensor, weight: Tensor, use: LinearUse, known: Known) -> Tensor:
    samples = use.target.samples
    left = grad if use.scale_out is None else grad * use.scale_out
    left = left.reshape(samples.streams, -1, left.shape[-1])
    noise = known.product(left, use.signs(grad.shape[1]), use.target.streams)
    if use.scale_in is not None:
        noise *= use.scale_in
    noise = noise.view(-1, weight.shape[1])
    if noise.dtype == grad.dtype:
        sigma = use.target.sigma
    else:  # half precision, where sigma may bring the noise into range
        noise, sigma = (noise * use.target.sigma).to(grad.dtype), 1.0
    flat = torch.addmm(noise, grad.reshape(-1, grad.shape[-1]), weight, beta=sigma)
    return flat.view(*grad.shape[:-1], -1)


def _parameter_gradients(
    ctx: Any, grad: Tensor, inputs: Tensor, weight: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    for_weight = for_bias = None
    if ctx.needs_input_grad[1]:
        rows = ctx.use.distinct(inputs)
        left = grad.reshape(-1, grad.shape[-1])
        if left.shape[0] != rows.shape[0]:
            left = left.view(-1, rows.shape[0], left.shape[-1]).sum(0)
        for_weight = _as(torch.mm(left.t(), rows), weight.dtype)
    if ctx.needs_input_grad[2]:
        for_bias = _as(grad.sum((0, 1)), ctx.use.bias.parameter.dtype)
    return for_weight, for_bias


def _offset(use: LinearUse, inputs: Tensor) -> Tensor | None:
    """The perturbed bias as it is added to outputs `(samples, n, out)`: `(samples, 1, out)`."""
    return None if use.bias is None else _as(use.bias.stacked().unsqueeze(1), inputs.dtype)


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor if tensor.dtype == dtype else tensor.to(dtype)
