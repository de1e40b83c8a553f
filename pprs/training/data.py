"""A user's data: examples by number, batches of them, and the order in which they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from pprs.pipeline.labels import are_labels
from pprs.smoothing import derive_seed
from pprs.training.labels import shifted
from pprs.training.user_errors import user_code

_ARRAYS = Tensor | np.ndarray
_WRAP_TENSORS = ": wrap them, torch.utils.data.TensorDataset(x, y)"
_WRAP_ARRAYS = (
    ": wrap them, torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))"
)
_WAYS = {
    DataLoader: ": return its data set, loader.dataset; --batch and --seed say how it is read",
    IterableDataset: ": return one with items by number, such as list(...) of it",
    str: ": load it, and return the data set",
}
_WANTED = "a data set with __len__ and __getitem__, or a pair (training, validation) of these"


@dataclass(frozen=True)
class Batch:
    """A batch: examples stacked along the first dimension.

    Args:
        inputs: what the model takes, shape `(m, ...)` each.
        target: what the loss takes, shape `(m, ...)`.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor


_IN_LISTS = " (a list of all x and one of all y: TensorDataset(torch.tensor(x), torch.tensor(y)))"


class Examples:
    """Examples of which batches are made, by number.

    An example is `(x, y)`, `(x1, x2, ..., y)`, or a mapping with the key `"labels"` whose
    other entries are the model's keyword arguments.

    Args:
        dataset: has a length of at least 1, and examples by number.
        what: its name, for errors.
        shift: the label of a token is the next token's.

    Raises:
        ValueError: if it has not, or an example is none.
    """

    def __init__(self, dataset: Any, what: str = "data", *, shift: bool = False) -> None:
        self._dataset, self._what, self._shift = dataset, what, shift
        with user_code(f"the length of {what} failed"):
            length = len(dataset)
        if not length:
            raise ValueError(f"{what} must have examples, but has none")
        first = self._item(0)
        self.keywords: list[str] | None = None
        if isinstance(first, Mapping):
            if "labels" not in first or len(first) < 2:
                raise ValueError(
                    f"an item of {what} that is a mapping must have 'labels' and an input, got the "
                    f"keys {', '.join(map(repr, first))}{_rename(first)}"
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
            ValueError: if they cannot be stacked.
        """
        collated: Any
        if type(self._dataset) is TensorDataset:  # as collated, in one piece
            collated = [tensor[list(numbers)] for tensor in self._dataset.tensors]
        else:
            items = [self._item(number) for number in numbers]
            with user_code(
                f"items of {self._what} cannot stand side by side in a batch, give them tensors of "
                f"one shape{_IN_LISTS if isinstance(items[0], list) else ''}"
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
                    f"{type(value).__name__} of them: torch.tensor(x) is one, and a data set of "
                    f"Hugging Face gives them after .with_format('torch')"
                )
        return Batch(tuple(inputs), self._shifted(target) if self._shift else target)

    def part(self, numbers: Sequence[int], what: str) -> Examples:
        """Some of the examples, in this order, under a name of their own.

        Args:
            numbers: of at least one example.
            what: the name, for errors.
        """
        if type(self._dataset) is TensorDataset:
            chosen: Any = TensorDataset(*(x[list(numbers)] for x in self._dataset.tensors))
        else:
            chosen = Subset(self._dataset, list(numbers))
        return Examples(chosen, what, shift=self._shift)

    def example(self, size: int = 2) -> Batch:
        """The first examples, repeated if there are fewer."""
        return self.batch([i % len(self) for i in range(size)])

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """What the model takes: tensors, or one mapping of keyword arguments."""
        if self.keywords is None:
            return batch.inputs
        return (dict(zip(self.keywords, batch.inputs, strict=True)),)

    @property
    def labels(self) -> Tensor | None:
        """The targets of all examples, where they lie side by side already."""
        if type(self._dataset) is not TensorDataset or self._shift:
            return None
        return self._dataset.tensors[-1]

    def _shifted(self, target: Tensor) -> Tensor:
        if target.dim() < 2 or not are_labels(target):
            kind = str(target.dtype).removeprefix("torch.")
            raise ValueError(
                f"shift_labels is for labels of tokens, whole numbers of shape (m, tokens): those "
                f"of {self._what} are {tuple(target.shape)} {kind}"
            )
        return shifted(target)

    def _item(self, number: int) -> Any:
        with user_code(f"item {number} of {self._what} failed"):
            return self._dataset[number]


def _rename(item: Mapping[Any, Any]) -> str:
    near = [key for key in ("label", "target", "targets", "y") if key in item]
    return f": rename {near[0]!r}" if near and "labels" not in item else ""


def training_and_validation(
    returned: object, *, shift: bool = False
) -> tuple[Examples, Examples | None]:
    """The two data sets of what a user's function has returned.

    Args:
        returned: by the function.
        shift: as for `Examples`.

    Raises:
        ValueError: if that is something else.
    """
    if not isinstance(returned, tuple) or any(isinstance(part, _ARRAYS) for part in returned):
        return _examples(returned, "data", shift), None
    if len(returned) != 2:
        raise ValueError(f"data must return {_WANTED}, got a tuple of {len(returned)}")
    training, validation = returned
    if validation is None:
        return _examples(training, "data", shift), None
    return (
        _examples(training, "the training data", shift),
        _examples(validation, "the validation data", shift),
    )


def _examples(dataset: object, what: str, shift: bool) -> Examples:
    kind = type(dataset)  # where Python looks for these: a class has no items, its objects have
    fits = hasattr(kind, "__len__") and hasattr(kind, "__getitem__")
    way = _way(dataset)
    if not fits or way:
        got = "" if what == "data" else f" as {what}"
        kind_name = "tensors" if way == _WRAP_TENSORS else f"a {kind.__name__}"
        raise ValueError(f"data must return {_WANTED}, got {kind_name}{got}{way}")
    return Examples(dataset, what, shift=shift)


def _way(dataset: object) -> str:
    """What to return instead of what looks like data and is none."""
    if isinstance(dataset, Mapping):
        return f": return {_parts(dataset)}"
    if type(dataset).__name__ == "DataFrame":
        return f"{_WRAP_ARRAYS}, of its columns' .to_numpy()"
    parts = dataset if isinstance(dataset, list | tuple) else [dataset]
    if any(isinstance(part, _ARRAYS) for part in parts):
        tensors = all(isinstance(part, Tensor) for part in parts)
        return _WRAP_TENSORS if tensors else _WRAP_ARRAYS
    return next((way for kind, way in _WAYS.items() if isinstance(dataset, kind)), "")


def _parts(splits: Mapping[Any, Any]) -> str:
    """The parts of a data set that are to be returned, by the keys that they have."""
    begins = ("train", "valid", "dev", "test")
    named = [key for key in splits if isinstance(key, str) and key.startswith(begins)]
    parts = [f"data[{key!r}]" for key in named[:2] or ("train", "validation")]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


@dataclass(frozen=True)
class BatchOrder:
    """Which examples each batch of each step has: a function of the seed and the step only.

    Every epoch has another order. A step has `accumulate` batches, the last one of an epoch
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
        """The sizes of all batches."""
        return {min(self.batch, self.examples), self.examples % self.batch or self.batch}

    def is_short(self, step: int) -> bool:
        """Whether it has fewer examples than others: the last one of an epoch may."""
        whole = self.batch * self.accumulate
        return (step + 1) % self.steps_per_epoch == 0 and 0 < self.examples % whole < self.examples

    def batches(self, step: int) -> list[list[int]]:
        """The numbers of the examples of each batch of a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, "order"))
        order = torch.randperm(self.examples, generator=generator, device="cpu").tolist()
        whole = self.batch * self.accumulate
        of_step = order[place * whole : (place + 1) * whole]
        return [of_step[i : i + self.batch] for i in range(0, len(of_step), self.batch)]
