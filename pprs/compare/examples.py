"""Labelled examples of a classification task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """Inputs and the classes that they belong to.

    Args:
        x: inputs, shape `(n, ...)`.
        y: labels, shape `(n,)`, from 0 to `classes - 1`.
        classes: how many there are.
    """

    x: Tensor
    y: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Tensor) -> Examples:
        return Examples(self.x[index], self.y[index], self.classes)

    def split(self, first: int, generator: torch.Generator) -> tuple[Examples, Examples]:
        """Draw `first` examples of every class for the first part; the second has the rest.

        Raises:
            ValueError: if a class has no more than `first` examples.
        """
        sizes = self.y.bincount(minlength=self.classes)
        smallest = int(sizes.min())
        if not 1 <= first < smallest:
            raise ValueError(
                f"cannot take {first} images of every class: the smallest class has {smallest}, "
                f"and both parts need at least one"
            )
        order = torch.randperm(len(self), generator=generator)
        # Sorting by class keeps the drawn order within each class.
        by_class = order[self.y[order].argsort(stable=True)]
        rank = torch.cat([torch.arange(int(n)) for n in sizes])
        return self[by_class[rank < first]], self[by_class[rank >= first]]

    def flattened(self) -> Examples:
        """The same examples with inputs of shape `(n, features)`."""
        return Examples(self.x.flatten(1), self.y, self.classes)
