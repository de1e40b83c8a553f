"""What a method sees: a model, the loss of its training examples, and what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from pprs._arguments import counts
from pprs.smoothing import derive_seed
from pprs_experiments.study.cost import Cost, Price

Batch: TypeAlias = tuple[Tensor, ...]
Measure: TypeAlias = Callable[[], float]
Factory: TypeAlias = Callable[[int], "Problem"]
"""A seed to a problem: it draws examples and initial weights, each by a name, see `drawing`.
"""


@dataclass(frozen=True)
class Adversary:
    """Changes the examples for the worse, at the model as it is, before every gradient.

    Args:
        attack: a batch and a generator to the batch that the gradient is taken of.
        steps: gradients that it takes, one after the other, at least 1.
    """

    attack: Callable[[Batch, torch.Generator], Batch]
    steps: int

    def __post_init__(self) -> None:
        counts(steps=self.steps)


@dataclass(frozen=True)
class Problem:
    """An optimization problem of one seed, at its start.

    Args:
        model: whose trainable parameters are trained.
        loss: of the tensors of a batch, a scalar; it reaches the parameters through the model.
        batch: all training examples, tensors of shape `(m, ...)`; none where the loss takes none,
            and then it is not divisible.
        cost: of its gradients; says too whether the loss is a mean over examples, so that parts of
            the batch, and noise for each example, are possible.
        training_loss: what is minimised, at the present parameters.
        metrics: what else is measured at the present parameters, by name, such as how far above its
            minimum a convex function is.
        adversary: if there is one.
        final_metrics: what is measured at the end of a run only, by other names: the accuracy on
            validation and on test examples.

    Raises:
        ValueError: if the batch does not fit the cost, or two metrics have the same name.
    """

    model: nn.Module
    loss: Callable[..., Tensor]
    batch: Batch
    cost: Cost
    training_loss: Measure
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    adversary: Adversary | None = None
    final_metrics: Mapping[str, Measure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {len(tensor) for tensor in self.batch}
        fits = sizes == {self.examples} if self.batch else not self.cost.divisible
        if not fits:
            raise ValueError(
                f"batch must hold tensors of the {self.examples} examples that cost tells of (or "
                f"none, if cost is not divisible), got first dimensions {sorted(sizes)}"
            )
        if twice := self.metrics.keys() & self.final_metrics.keys():
            raise ValueError(
                f"final_metrics must have other names than metrics, got {sorted(twice)} in both"
            )

    @property
    def examples(self) -> int:
        """The number m of training examples."""
        return self.cost.examples

    def chosen(self, index: Tensor) -> Batch:
        """The training examples of these numbers."""
        return tuple(tensor[index.to(tensor.device)] for tensor in self.batch)

    def attacked(self, batch: Batch, generator: torch.Generator) -> Batch:
        """What the adversary makes of a batch; the batch where there is none."""
        return self.adversary.attack(batch, generator) if self.adversary else batch

    def price(self, samples: int = 1, rows: int | None = None) -> Price:
        """The price of one gradient, as `Cost.price`, and of the adversary before it."""
        inner = self.adversary.steps if self.adversary else 0
        return self.cost.price(samples, rows) + self.cost.price(1, rows) * inner


def drawing(seed: int, *names: int | str) -> torch.Generator:
    """A generator for what is called so: other draws of the same seed do not change its own."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))
