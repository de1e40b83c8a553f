"""Labelled examples of a classification task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pprs._arguments import counts


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

    def drawn(self, number: int, generator: torch.Generator) -> Examples:
        """Draw a number of the examples; all, in a drawn order, where there are fewer.

        Raises:
            ValueError: if `number` is not at least 1.
        """
        counts(number=number)
        return self[torch.randperm(len(self), generator=generator)[:number]]

    def only(self, classes: Sequence[int]) -> Examples:
        """The examples of some classes, which are numbered anew in the given order.

        Raises:
            ValueError: for a class that there is not, one named twice, or none.
        """
        named = set(classes)
        if not named or len(named) < len(classes) or not named <= set(range(self.classes)):
            raise ValueError(
                f"classes must name some of 0 to {self.classes - 1}, each once, got {classes}"
            )
        number = torch.full((self.classes,), -1)
        number[list(classes)] = torch.arange(len(classes))
        kept = number[self.y] >= 0
        return Examples(self.x[kept], number[self.y[kept]], len(classes))

    def flattened(self) -> Examples:
        """The same examples with inputs of shape `(n, features)`."""
        return Examples(self.x.flatten(1), self.y, self.classes)
