"""What is refused before or after a smoothed pass, with the value at hand and what to do."""

from __future__ import annotations

import math

from torch import Tensor, nn

# These change their statistics, or normalise by them, on every pass in training mode: the K
# perturbed passes would see each other, and the average would not be that of the algorithm.
_RUNNING_STATISTICS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_RUNNING_STATISTICS_IF_TRACKED = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def check_smoothing(sigma: float, samples: int) -> None:
    """Raise ``ValueError`` unless sigma is finite and at least 0, and samples an integer >= 1."""
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(
            f"sigma is the standard deviation of the perturbations: it must be finite and at "
            f"least 0, got {sigma!r}"
        )
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise ValueError(
            f"samples is the number of perturbations averaged per step: it must be an integer "
            f"of at least 1, got {samples!r}"
        )


def checked_parameters(model: nn.Module, sigma: float, samples: int) -> dict[str, nn.Parameter]:
    """The parameters to perturb, by full name, after every check that needs no forward pass."""
    check_smoothing(sigma, samples)
    check_normalisation(model)
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


def check_finite(losses: Tensor, sigma: float) -> None:
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
