"""Few-shot classification of scikit-learn's bundled digits, as vectors and without validation."""

from __future__ import annotations

import torch

from pprs.compare.examples import Examples
from pprs.compare.scale import Scale
from pprs.compare.scans import CLASSES, digits

__all__ = ["CLASSES", "PIXELS", "Examples", "few_shot_digits"]

PIXELS = 64


def few_shot_digits(
    shots: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Examples, Examples]:
    """Draw ``shots`` labelled images per class for training; all others are for testing.

    Pixels are shifted and scaled to mean 0 and variance 1 over the training images.

    Args:
        shots: training images per class, 1 to 173.
        generator: draws the images.
        dtype: of the images.

    Returns:
        The training and the test examples, ``x`` of shape ``(n, 64)``.
    """
    source = digits()
    train, test = (source.as_numbers(part, dtype) for part in source.train.split(shots, generator))
    scale = Scale.of(train.x)
    return scale.applied(train).flattened(), scale.applied(test).flattened()
