"""A data set of images, as its files have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pprs.compare.examples import Examples
from pprs_experiments.tasks.examples import only


@dataclass(frozen=True)
class Images:
    """Images as bytes, which take a quarter of the memory of floating-point numbers.

    Args:
        train: the part to draw training examples from, `x` of shape `(n, c, h, w)` and type
            uint8.
        test: the part for testing; `None` where the data set has none: then what is not drawn
            for training and validation is for testing.
        brightest: the largest value that a pixel can have.
    """

    train: Examples
    test: Examples | None
    brightest: int

    def only(self, classes: Sequence[int]) -> Images:
        """The images of some classes, which are numbered anew in the given order.

        Raises:
            ValueError: for a class that there is not, one named twice, or none.
        """
        test = None if self.test is None else only(self.test, classes)
        return Images(only(self.train, classes), test, self.brightest)

    def as_numbers(self, examples: Examples, dtype: torch.dtype) -> Examples:
        """Some of the images with pixels from 0 to 1."""
        return Examples(examples.x.to(dtype) / self.brightest, examples.y, examples.classes)
