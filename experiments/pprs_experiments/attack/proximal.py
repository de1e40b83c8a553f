r"""The proximal map of the largest absolute value."""

from __future__ import annotations

import torch
from torch import Tensor


def onto_l1_ball(vectors: Tensor, radius: Tensor) -> Tensor:
    r"""The nearest vectors with $\|v\|_1 \le$ radius, by sorting (Duchi et al., 2008).

    Args:
        vectors: shape `(..., d)`.
        radius: above 0, shape `(..., 1)`.
    """
    lengths = vectors.abs()
    ordered = lengths.sort(descending=True).values
    excess = ordered.cumsum(-1) - radius
    places = torch.arange(1, vectors.shape[-1] + 1)
    last = (ordered * places > excess).sum(-1, keepdim=True).clamp(min=1)
    cut = (excess.gather(-1, last - 1) / last).clamp(min=0)
    return vectors.sign() * (lengths - cut).clamp(min=0)


def prox_of_largest(vectors: Tensor, weight: Tensor) -> Tensor:
    r"""$\arg\min_u \frac12 \|u - v\|^2 + \text{weight} \|u\|_\infty$, by Moreau's identity.

    Args:
        vectors: v, shape `(..., d)`.
        weight: above 0, shape `(..., 1)`.
    """
    return vectors - onto_l1_ball(vectors, weight)
