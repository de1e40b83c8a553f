"""How noise is shared: how many X a pass samples, in which pairs, and by which examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    r"""The samples of X that run side by side under vmap, and which examples each of them meets.

    Args:
        perturbations: the number K of perturbations.
        antithetic: samples $2j$ and $2j + 1$ are $X_j$ and $-X_j$.
        examples: how many examples have samples of their own; `None` if the batch shares them.
    """

    perturbations: int
    antithetic: bool = False
    examples: int | None = None

    @cached_property
    def count(self) -> int:
        """How many samples there are: K, or K for each example."""
        return self.perturbations * (1 if self.examples is None else self.examples)

    @cached_property
    def share(self) -> int:
        """How many samples read one stream of noise: 2 in antithetic pairs."""
        return 2 if self.antithetic else 1

    @cached_property
    def streams(self) -> int:
        """How many independent X there are."""
        return self.count // self.share

    @property
    def cycle(self) -> int | None:
        """After how many samples a batch that is the same for all of them repeats, spread out."""
        if self.examples is None:
            return None  # what all samples share is not laid out for each
        return self.share * self.examples

    def signed(self, drawn: Tensor) -> Tensor:
        """What each sample sees of a draw per stream: `(streams, ...)` to `(samples, ...)`."""
        if not self.antithetic:
            return drawn
        return torch.stack([drawn, -drawn], 1).flatten(0, 1)

    def signs(self, like: Tensor, dimensions: int) -> Tensor:
        """The sign of each sample, shape `(samples, 1, ...)`."""
        signs = torch.ones(self.count, dtype=like.dtype, device=like.device)
        if self.antithetic:
            signs[1::2] = -1
        return signs.view(-1, *[1] * (dimensions - 1))

    def spread(self, examples: Tensor) -> Tensor:
        """Lay out `(perturbations, batch, ...)` as each sample's batch: `(samples, m, ...)`.

        A sample of one example has a batch of one, and those of a pair stand side by side.
        """
        if self.examples is None:
            return examples
        if self.antithetic:
            pairs = examples.reshape(len(examples) // 2, 2, *examples.shape[1:])
            examples = pairs.transpose(1, 2).flatten(1, 2)
        return examples.flatten(0, 1).unsqueeze(1)

    def gather(self, rows: Tensor) -> Tensor:
        """Undo `spread`: `(samples, m, ...)` to `(perturbations, batch, ...)`."""
        if self.examples is None:
            return rows
        rows = rows.squeeze(1)
        if self.antithetic:
            pairs = rows.reshape(self.perturbations // 2, -1, 2, *rows.shape[1:])
            return pairs.transpose(1, 2).flatten(0, 1)
        return rows.reshape(self.perturbations, -1, *rows.shape[1:])
