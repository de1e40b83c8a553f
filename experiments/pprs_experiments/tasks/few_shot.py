"""Few-shot classification: few labelled images to learn from, and others to measure on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pprs.compare.examples import Examples
from pprs_experiments.tasks.examples import drawn
from pprs_experiments.tasks.images.images import Images
from pprs_experiments.tasks.images.pixels import PixelScale


@dataclass(frozen=True)
class FewShot:
    """Standardised examples of a task; no image is in two parts.

    Args:
        train: to learn from.
        validation: to choose settings by.
        test: to report.
        scale: how pixels from 0 to 1 were standardised.
    """

    train: Examples
    validation: Examples
    test: Examples
    scale: PixelScale


def few_shot(
    source: Images,
    shots: int,
    validation: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    *,
    test: int | None = None,
) -> FewShot:
    """Draw the examples of a task.

    Training and validation examples are of the training part of the data. Pixels are shifted and
    scaled, each channel its own way, to mean 0 and variance 1 over the training images.

    Args:
        source: the images.
        shots: training images per class, at least 1.
        validation: validation images per class, at least 1.
        generator: draws the images. Which ones are for training depends on the shots only, and
            which are for validation not on `test`.
        dtype: of the images.
        test: the most images for testing, drawn from all of them; by default all.

    Raises:
        ValueError: if there are too few images, or the training images are all alike.
    """
    # Numbers are split, not images: all of a data set would be copied to draw a few.
    labels = source.train.y
    numbers = Examples(torch.arange(len(labels)), labels, source.train.classes)
    first, rest = numbers.split(shots, generator)
    second, rest = rest.split(validation, generator)
    train, held = source.train[first.x], source.train[second.x]
    tested = source.train[rest.x] if source.test is None else source.test
    if test is not None:
        tested = drawn(tested, test, generator)
    train, held, tested = (source.as_numbers(part, dtype) for part in (train, held, tested))
    scale = PixelScale.of(train.x)
    return FewShot(scale.applied(train), scale.applied(held), scale.applied(tested), scale)
