"""The perturbed parameters θ + σX_1 … θ + σX_K, materialised."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pprs.smoothing._noise import Noise


def perturb(
    parameters: Mapping[str, Tensor], sigma: float, samples: int, noise: Noise
) -> dict[str, Tensor]:
    r"""Stack the perturbed parameters $\theta + \sigma X_k$ for $k = 1, \dots, K$.

    Args:
        parameters: by the full names that key the noise.
        sigma: standard deviation of the noise, in the parameters' units, at least 0.
        samples: the number K of perturbations, at least 1.
        noise: where the draws come from.

    Returns:
        For each name a tensor of shape ``(samples, *parameter.shape)``, differentiable with respect
        to the parameter.
    """
    return {
        name: _perturb(parameter, sigma, samples, noise, name)
        for name, parameter in parameters.items()
    }


def _perturb(parameter: Tensor, sigma: float, samples: int, noise: Noise, name: str) -> Tensor:
    if sigma == 0:
        return parameter.expand(samples, *parameter.shape)
    draws = torch.empty((samples, *parameter.shape), dtype=parameter.dtype, device=parameter.device)
    generator = noise.stream(name, parameter.device)
    for draw in draws.unbind():
        draw.normal_(generator=generator)
    return torch.add(parameter, draws, alpha=sigma)
