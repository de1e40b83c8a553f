"""scikit-learn's bundled digits: 1,797 real scans of 8×8 pixels, in 10 classes."""

from __future__ import annotations

import torch

from pprs.compare.examples import Examples
from pprs.compare.images import Images

CLASSES = 10


def digits() -> Images:
    """All scans, of shape ``(n, 1, 8, 8)``; none are set apart for testing."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.uint8).view(-1, 1, 8, 8)
    return Images(Examples(x, torch.tensor(labels), CLASSES), test=None, brightest=16)
