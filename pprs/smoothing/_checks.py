"""What is refused before or after a smoothed pass, with the value at hand and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# These change their statistics, or normalise by them, on every pass in training mode: the K
# perturbed passes would see each other, and the average would not be that of the algorithm.
_RUNNING_STATISTICS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_RUNNING_STATISTICS_IF_TRACKED = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def check_model(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters to perturb, by full name, after every check that needs no forward pass."""
    check_normalisation(model)
    check_plain(model)
    return trainable(model)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are perturbed, by full name; frozen ones are left out.

    Raises:
        ValueError: if there is none, or one is not real floating point.
    """
    parameters = dict(model.named_parameters())
    chosen = {name: p for name, p in parameters.items() if p.requires_grad}
    if not chosen:
        raise ValueError(
            f"{type(model).__name__} has {len(parameters)} parameters and none is trainable: "
            f"set requires_grad=True on those to smooth over"
        )
    for name, parameter in chosen.items():
        if not parameter.is_floating_point():
            raise ValueError(
                f"parameter {name!r} has dtype {parameter.dtype}: Gaussian smoothing needs a real "
                f"floating-point type; freeze it with requires_grad=False"
            )
    return chosen


def check_normalisation(model: nn.Module) -> None:
    """Raise ``RuntimeError`` if a layer of the model mixes the perturbed passes."""
    for name, module in model.named_modules():
        mixes = isinstance(module, _RUNNING_STATISTICS) or (
            isinstance(module, _RUNNING_STATISTICS_IF_TRACKED) and module.track_running_stats
        )
        if mixes and module.training:
            kind = type(module).__name__
            raise RuntimeError(
                f"{kind} {name!r} is in training mode: its running statistics would mix the "
                f"perturbed passes. Call .eval() on it, or replace it by nn.GroupNorm or "
                f"nn.LayerNorm, which see one example at a time"
            )


def check_plain(model: nn.Module) -> None:
    """Raise ``RuntimeError`` if a module runs its parameters where they cannot be perturbed."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise RuntimeError(
                f"module {name!r} is compiled by torch.jit: its parameters cannot be perturbed "
                f"there. Use the plain Python module"
            )


def check_batch(batch: Sequence[Tensor] | None, noise: str) -> Sequence[Tensor]:
    """The tensors of a batch, or ``ValueError`` if they cannot be taken example by example."""
    if batch is None:
        if noise == "example":
            raise ValueError(
                'noise="example" runs the closure on one example at a time: pass the batch, '
                "smooth(lambda x, y: loss(model(x), y), ..., batch=(x, y))"
            )
        return ()
    if isinstance(batch, Tensor):
        raise ValueError("batch must be a sequence of tensors, got one: write batch=(x,)")
    if noise == "example":
        sizes = [tuple(tensor.shape[:1]) for tensor in batch]
        if not sizes or len(set(sizes)) > 1 or sizes[0] in {(), (0,)}:
            raise ValueError(
                f"the tensors of the batch must have the same first dimension, the examples: got "
                f"shapes {[tuple(tensor.shape) for tensor in batch]}"
            )
    return batch


def check_scalar(loss: object) -> Tensor:
    """The loss of one perturbation, or ``ValueError`` if it is not a tensor without dimensions."""
    if not isinstance(loss, Tensor):
        raise ValueError(
            f"the closure must return the loss as a scalar tensor, got "
            f"{type(loss).__name__} {loss!r}: does it end in `return loss`?"
        )
    if loss.dim() != 0:
        raise ValueError(
            f"the closure must return a scalar loss, got a tensor of shape {tuple(loss.shape)}: "
            f"reduce it, for example with .mean()"
        )
    return loss


def check_finite(losses: Tensor, sigma: object) -> None:
    """Raise ``RuntimeError`` if the loss of a perturbation is infinite or not a number."""
    finite = losses.detach().isfinite()
    if finite.all():
        return
    bad = losses.detach()[~finite]
    raise RuntimeError(
        f"the loss is not finite at {len(bad)} of {losses.numel()} perturbed parameters (first: "
        f"{bad[0].item()}, sigma={sigma}): lower the step size or sigma, or look for a division, "
        f"logarithm or overflow in the loss"
    )
