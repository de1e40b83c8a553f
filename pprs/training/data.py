"""A user's data: examples by number, batches of them, and the order in which they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from pprs.smoothing import derive_seed
from pprs.training.load import failing

_WANTED = "a data set with __len__ and __getitem__, or a pair (training, validation) of these"


@dataclass(frozen=True)
class Batch:
    """Examples side by side.

    Args:
        inputs: what the model takes, shape ``(m, ...)`` each.
        target: what the loss takes, shape ``(m, ...)``.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor


class Examples:
    """Examples of which batches are made, by number.

    An example is ``(x, y)``, ``(x1, x2, ..., y)``, or a mapping with the key ``"labels"`` whose
    other entries are the model's keyword arguments.

    Args:
        dataset: has a length of at least 1, and examples by number.
        what: it is called in errors.

    Raises:
        ValueError: if it has not, or an example is none.
    """

    def __init__(self, dataset: Any, what: str = "data") -> None:
        self._dataset, self._what = dataset, what
        with failing(f"the length of {what} failed"):
            length = len(dataset)
        if not length:
            raise ValueError(f"{what} must have examples, but has none")
        first = self._item(0)
        self.keywords: list[str] | None = None
        if isinstance(first, Mapping):
            if "labels" not in first or len(first) < 2:
                raise ValueError(
                    f"an item of {what} that is a mapping must have 'labels' and an input, got the "
                    f"keys {', '.join(map(repr, first))}"
                )
            self.keywords = [key for key in first if key != "labels"]
        elif not isinstance(first, tuple | list) or len(first) < 2:
            got = f" of {len(first)}" if isinstance(first, tuple | list) else ""
            raise ValueError(
                f"an item of {what} must be (x, y), (x1, x2, ..., y) or a mapping with 'labels', "
                f"got a {type(first).__name__}{got}"
            )

    def __len__(self) -> int:
        return len(self._dataset)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """The examples of these numbers.

        Raises:
            ValueError: if they cannot stand side by side.
        """
        items = [self._item(number) for number in numbers]
        with failing(
            f"items of {self._what} cannot stand side by side in a batch, give them tensors of one "
            f"shape"
        ):
            collated = default_collate(items)
        if self.keywords is not None:
            inputs, target = [collated[key] for key in self.keywords], collated["labels"]
        else:
            *inputs, target = collated
        for value in (*inputs, target):
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"items of {self._what} must hold tensors or numbers, got a "
                    f"{type(value).__name__} of them (a data set of Hugging Face gives tensors "
                    f"after .with_format('torch'))"
                )
        return Batch(tuple(inputs), target)

    def example(self, size: int = 2) -> Batch:
        """The first examples, repeated if there are fewer."""
        return self.batch([i % len(self) for i in range(size)])

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """What the model takes: tensors, or one mapping of keyword arguments."""
        if self.keywords is None:
            return batch.inputs
        return (dict(zip(self.keywords, batch.inputs, strict=True)),)

    def _item(self, number: int) -> Any:
        with failing(f"item {number} of {self._what} failed"):
            return self._dataset[number]


def training_and_validation(returned: object) -> tuple[Examples, Examples | None]:
    """The two data sets of what a user's function has returned.

    Raises:
        ValueError: if that is something else.
    """
    if isinstance(returned, Tensor) or (
        isinstance(returned, tuple) and any(isinstance(part, Tensor) for part in returned)
    ):
        raise ValueError(
            f"data must return {_WANTED}, got tensors: wrap them, "
            f"torch.utils.data.TensorDataset(x, y)"
        )
    if not isinstance(returned, tuple):
        return _examples(returned, "data"), None
    if len(returned) != 2:
        raise ValueError(f"data must return {_WANTED}, got a tuple of {len(returned)}")
    training, validation = returned
    if validation is None:
        return _examples(training, "data"), None
    return _examples(training, "the training data"), _examples(validation, "the validation data")


def _examples(dataset: object, what: str) -> Examples:
    kind = type(dataset)  # where Python looks for these: a class has no items, its objects have
    fits = hasattr(kind, "__len__") and hasattr(kind, "__getitem__")
    if not fits or isinstance(dataset, Mapping | str):
        hint = ": return (data['train'], data['validation'])" if isinstance(dataset, dict) else ""
        raise ValueError(f"data must return {_WANTED}, got a {type(dataset).__name__}{hint}")
    return Examples(dataset, what)


@dataclass(frozen=True)
class Order:
    """Which examples each batch of each step has: a function of the seed and the step only.

    Every epoch has another order. A step has ``accumulate`` batches, the last one of an epoch
    those that are left; the last batch has the examples that are left.

    Args:
        examples: their number.
        batch: examples of a batch.
        accumulate: batches of a step.
        seed: of the run.
    """

    examples: int
    batch: int
    accumulate: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which each example was seen once."""
        return -(-self.examples // (self.batch * self.accumulate))

    @property
    def sizes(self) -> set[int]:
        """Of all batches."""
        return {min(self.batch, self.examples), self.examples % self.batch or self.batch}

    def batches(self, step: int) -> list[list[int]]:
        """The numbers of the examples of each batch of a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, "order"))
        order = torch.randperm(self.examples, generator=generator).tolist()
        whole = self.batch * self.accumulate
        of_step = order[place * whole : (place + 1) * whole]
        return [of_step[i : i + self.batch] for i in range(0, len(of_step), self.batch)]
