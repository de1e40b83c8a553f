"""CIFAR-10: coloured photographs of 32×32 pixels in 10 classes, in binary records."""

from __future__ import annotations

from pathlib import Path

import torch

from pprs._arguments import counts
from pprs.compare.examples import Examples
from pprs_experiments.tasks.files import check_labels, read_bytes
from pprs_experiments.tasks.images.images import Images

CLASSES = 10
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue pixels


def cifar_10(folder: Path, images: int = 10_000) -> Images:
    """Read two of the official training batches: `data_batch_2` is held out for testing.

    The official test batch is not used, so that test accuracies are not those of the literature.

    Args:
        folder: holds `data_batch_1.bin` and `data_batch_2.bin`.
        images: in each file, at least 1; the official ones have 10,000.

    Returns:
        Images of shape `(n, 3, 32, 32)`.

    Raises:
        ValueError: if a file is missing or damaged.
    """
    counts(images=images)
    train = _batch(folder / "data_batch_1.bin", images)
    return Images(train, _batch(folder / "data_batch_2.bin", images), brightest=255)


def _batch(file: Path, images: int) -> Examples:
    content = read_bytes(file)
    if len(content) != images * _RECORD:
        raise ValueError(
            f"{file} is damaged: expected {images * _RECORD} bytes, {images} records of {_RECORD}, "
            f"found {len(content)}"
        )
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(images, _RECORD)
    labels = check_labels(file, records[:, 0], CLASSES)
    return Examples(records[:, 1:].reshape(images, *_SHAPE), labels, CLASSES)
