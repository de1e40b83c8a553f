"""Few-shot classification of scikit-learn's bundled digits: 1,797 real scans of 8×8 pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CLASSES = 10
PIXELS = 64


@dataclass(frozen=True)
class Examples:
    """Images ``x`` of shape ``(n, 64)`` and labels ``y`` of shape ``(n,)``, 0 to 9."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def split(self, first: int, generator: torch.Generator) -> tuple[Examples, Examples]:
        """Draw ``first`` examples of every class for the first part; the second has the rest.

        Raises:
            ValueError: if a class has no more than ``first`` examples.
        """
        smallest = int(self.y.bincount(minlength=CLASSES).min())
        if not 1 <= first < smallest:
            raise ValueError(
                f"cannot take {first} images of every class: the smallest class has {smallest}, "
                f"and both parts need at least one"
            )
        order = torch.randperm(len(self), generator=generator)
        # Sorting by class keeps the drawn order within each class.
        by_class = order[self.y[order].argsort(stable=True)]
        rank = torch.cat([torch.arange(int(n)) for n in self.y.bincount(minlength=CLASSES)])
        return self[by_class[rank < first]], self[by_class[rank >= first]]

    def scaled(self, mean: Tensor, deviation: Tensor) -> Examples:
        """The same examples with pixels ``(x - mean) / deviation``."""
        return Examples((self.x - mean) / deviation, self.y)

    def __getitem__(self, index: Tensor) -> Examples:
        return Examples(self.x[index], self.y[index])


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
        The training and the test examples.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    everything = Examples(torch.tensor(images, dtype=dtype), torch.tensor(labels))
    train, test = everything.split(shots, generator)
    mean, deviation = train.x.mean(), train.x.std()
    return train.scaled(mean, deviation), test.scaled(mean, deviation)
