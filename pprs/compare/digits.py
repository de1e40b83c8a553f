"""scikit-learn's bundled digits: 1,797 real scans of 8×8 pixels, in 10 classes."""

from __future__ import annotations

import torch

from pprs.compare.examples import Examples
from pprs.compare.scale import Scale

CLASSES, PIXELS, BRIGHTEST = 10, 64, 16


def digits() -> Examples:
    """All scans, bytes from 0 to 16 of shape `(1797, 1, 8, 8)`."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.uint8).view(-1, 1, 8, 8)
    return Examples(x, torch.tensor(labels), CLASSES)


def few_shot_digits(
    shots: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> tuple[Examples, Examples]:
    """Draw `shots` labelled images per class for training; all others are for testing.

    Images are vectors of pixels, shifted and scaled to mean 0 and variance 1 over the training
    images.

    Args:
        shots: training images per class, 1 to 173.
        generator: draws the images.
        dtype: of the images.

    Returns:
        The training and the test examples, `x` of shape `(n, 64)`.
    """
    scans = digits()
    numbers = Examples(scans.x.to(dtype) / BRIGHTEST, scans.y, scans.classes)
    train, test = numbers.split(shots, generator)
    scale = Scale.of(train.x)
    return scale.applied(train).flattened(), scale.applied(test).flattened()
