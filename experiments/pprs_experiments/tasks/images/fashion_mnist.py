"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28×28 pixels, in 10 classes."""

from __future__ import annotations

from pathlib import Path

from pprs.compare.examples import Examples
from pprs_experiments.tasks.files import check_labels
from pprs_experiments.tasks.images.idx import read_idx
from pprs_experiments.tasks.images.images import Images

CLASSES = 10
_SIDE = 28


def fashion_mnist(folder: Path) -> Images:
    """Read the official files.

    Args:
        folder: holds `train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz` and the same
            two of `t10k`, the test part.

    Returns:
        Images of shape `(n, 1, 28, 28)`.

    Raises:
        ValueError: if a file is missing or damaged.
    """
    return Images(_part(folder, "train"), _part(folder, "t10k"), brightest=255)


def _part(folder: Path, name: str) -> Examples:
    images_file = folder / f"{name}-images-idx3-ubyte.gz"
    labels_file = folder / f"{name}-labels-idx1-ubyte.gz"
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise ValueError(
            f"{images_file} is damaged: expected images of {_SIDE} x {_SIDE} pixels, found "
            f"{' x '.join(map(str, images.shape[1:]))}"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_file} does not belong to {images_file.name}: expected {len(images)} labels, "
            f"one for each image, found {len(labels)}"
        )
    return Examples(images[:, None], check_labels(labels_file, labels, CLASSES), CLASSES)
