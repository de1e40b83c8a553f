"""The pipeline of a run: its batches, its random numbers, and the weights of the whole model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pprs.optim import Centre
from pprs.pipeline import Pipeline, device
from pprs.pipeline.communication import broadcast, gathered
from pprs.pipeline.labels import are_labels
from pprs.smoothing import derive_seed
from pprs.training.config import TrainConfig
from pprs.training.data import Batch, Examples
from pprs.training.evaluation import evaluate
from pprs.training.labels import counted, outside
from pprs.training.losses import LABELLED, cross_entropy, summed_cross_entropy
from pprs.training.task import Task
from pprs.training.user_functions import seed_all


class Stages:
    """The stages of this process, and what is random in a step as a function of its number.

    Args:
        config: the settings.
        task: what is trained.
        layout: what `layout` gave in the run that this one goes on from, or nothing.
        finite: as for a `Pipeline`.
        group: the processes that share the run; all by default.

    Attributes:
        pipeline: of the model.
        microbatches: into how many a whole batch is divided; `None` before the first step, if
            that is to find out.
        unlabelled: whether none of the last step's labels counted.
    """

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        layout: Mapping[str, Any],
        *,
        finite: bool = True,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        self._config, self._task, self._group = config, task, group
        self._share = 1.0  # of the examples of a step in a batch
        # Examples of the batch over labels of the step, where labels count unequally.
        self._per_label: float | None = None
        self._classes: int | None = None
        self.unlabelled = False
        same = layout if layout.get("of") == self._layout_of() else {}
        microbatches = config.microbatches
        if microbatches == "auto":
            microbatches = same.get("microbatches", microbatches)
        if config.candidates > 1 and microbatches is None:
            microbatches = config.microbatches_of(task.order.batch)  # in the first step, too
        cut = config.cut or (same.get("cut") if config.balance == "time" else None)
        size = 2
        if config.balance == "time":  # what is measured has the size of what will run
            rows = config.microbatches_of(task.order.batch) if config.divided == "examples" else 1
            size = max(2, task.order.batch // rows)
        self.pipeline = Pipeline(
            task.model,
            self._loss,
            perturbation=config.perturbation,
            split=config.divided,
            microbatches=microbatches,
            schedule=config.schedule,
            replicas=config.replicas,
            seed=config.seed,
            example=task.example(size),
            balance=config.balance,
            cut=cut,
            recompute=config.recompute,
            check=config.check,
            record=20 if config.trace else 0,
            capture=config.capture,
            device=device(),
            finite=finite,
            group=group,
        )
        self.microbatches = self.pipeline.microbatches

    @property
    def logs(self) -> bool:
        """Whether this process is the one that has the losses and writes them down."""
        return self.pipeline.is_last and self.pipeline.replica == 0

    @property
    def whole_batch(self) -> int | None:
        """Into how many microbatches a whole batch is divided, as far as that is known."""
        if self._config.microbatches == "auto":
            return self.microbatches
        return self._config.microbatches_of(self._task.order.batch)

    def gradient(self, step: int) -> float | None:
        """Leave the gradient of a step's batches in `.grad`; a collective call.

        Returns:
            The mean loss, on the last stage; no number where none of the labels counts.
        """
        losses = [
            self._taken(numbers, batch, accumulate=i > 0)
            for i, (numbers, batch) in enumerate(self._batches(step))
        ]
        self.microbatches = self.microbatches or self.pipeline.microbatches
        if not self.pipeline.is_last:
            return None
        return (
            math.nan if self.unlabelled else sum(loss.item() for loss in losses if loss is not None)
        )

    def losses(self, step: int, centres: Sequence[Centre]) -> Tensor:
        """Leave the gradient of a step's batch at the best of several centres; a collective call.

        Returns:
            The losses there, as `Pipeline.step` gives them, in all processes.
        """
        ((numbers, batch),) = self._batches(step)
        losses = self._taken(numbers, batch, centres=centres)
        assert losses is not None
        self.microbatches = self.pipeline.microbatches
        return losses

    def _batches(self, step: int) -> Iterator[tuple[Sequence[int], Batch]]:
        """The batches of a step, with the numbers of their examples; each is prepared for."""
        order = self._task.order.batches(step)
        examples, labels = sum(map(len, order)), None
        batches: Iterable[Batch] = (self._read(step, i, numbers) for i, numbers in enumerate(order))
        if self._task.loss is cross_entropy:
            # What a label weighs, all labels of the step say together.
            batches = list(batches)
            labels = sum(counted(batch.target) for batch in batches)
            if labels == sum(batch.target.numel() for batch in batches):
                labels = None
        self.unlabelled = labels == 0
        for i, (numbers, batch) in enumerate(zip(order, batches, strict=True)):
            self._set_noise(step, i)
            self._share = len(numbers) / examples
            self._per_label = None if labels is None else len(numbers) / max(1, labels)
            if self.pipeline.captured is not None:
                # What a label weighs is another number in each step.
                weighed = self._share if labels is None else None
                self.pipeline.captured.of_loss(self._task.loss, weighed)
            yield numbers, batch

    def _taken(self, numbers: Sequence[int], batch: Batch, **how: Any) -> Tensor | None:
        with self._precision(), self._naming_labels(numbers, batch.target):
            return self.pipeline.step(batch.inputs, batch.target, **how)

    def evaluate(self, examples: Examples, batch: int | None = None) -> dict[str, float]:
        """Loss and accuracy by the first copy; a collective call of all processes.

        Args:
            examples: all of them count.
            batch: how many run at once; by default as in training.
        """
        measured = None
        if self.pipeline.replica == 0:
            loss, seed = self._task.loss, self._config.seed
            batch = batch or self._task.order.batch
            with self._precision():
                measured = evaluate(self.pipeline, examples, loss, batch, seed)
        found: dict[str, float] = self.from_logger(measured)
        return found

    def from_logger(self, value: object) -> Any:
        """Broadcast from the process that logs; a collective call."""
        return broadcast(value, self.pipeline.owners[-1], self._group)

    def layout(self) -> dict[str, Any]:
        """The cut and the number of microbatches that were measured as best; a collective call."""
        mine = {number: len(stage.chain) for number, stage in self.pipeline.local.items()}
        lengths = {number: n for part in gathered(mine, self._group) for number, n in part.items()}
        starts = list(accumulate(lengths[number] for number in sorted(lengths)))[:-1]
        return {"of": self._layout_of(), "microbatches": self.microbatches, "cut": starts}

    def weights(self) -> dict[str, Tensor] | None:
        """The whole model by the user's names, on the process that logs; a collective call."""
        model, first = self._task.model, self.pipeline.replica == 0
        names = model.state_dict().keys()
        own = {
            name: value.cpu()
            for stage in (self.pipeline.local.values() if first else ())
            for piece in stage.chain
            for name, value in piece.state_dict().items()
            if name in names and isinstance(value, Tensor)  # not a layer's extra state
        }
        parts: list[dict[str, Tensor]] | None = None
        if self.logs:
            parts = [{} for _ in range(dist.get_world_size(self._group))]
        dist.gather_object(own, parts, group=self._group, group_dst=self.pipeline.owners[-1])
        if parts is None:
            return None
        for part in parts:
            model.load_state_dict(part, strict=False)
        # Copies: names that share a tensor would not be saved.
        return {
            name: value.cpu().clone(memory_format=torch.contiguous_format)
            for name, value in model.state_dict().items()
            if isinstance(value, Tensor)
        }

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        self._classes = outputs.shape[-1] if outputs.dim() == target.dim() + 1 else None
        if self._per_label is None:
            return self._task.loss(outputs, target) * self._share
        # The engine takes the mean over microbatches, or examples with a noise of their own.
        return summed_cross_entropy(outputs, target) * (self._per_label / len(outputs))

    def _read(self, step: int, i: int, numbers: Sequence[int]) -> Batch:
        seed_all(derive_seed(self._config.seed, step, i, "examples"))
        return self._task.training.batch(numbers)

    @contextmanager
    def _naming_labels(self, numbers: Sequence[int], target: Tensor) -> Iterator[None]:
        """Name the item if a label that is no class is why the step fails."""
        try:
            yield
        except RuntimeError as error:
            known = self._config.loss in LABELLED and self._classes and are_labels(target)
            found = outside(target, self._classes) if known and self._classes else None
            if found is None:
                raise
            row, label = found
            raise ValueError(
                f"item {numbers[row]} of the training data has the label {label}, but the model's "
                f"outputs are for {self._classes} classes, 0 to {(self._classes or 0) - 1}"
            ) from error

    def _precision(self) -> AbstractContextManager[Any]:
        if self._config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.pipeline.device.type, dtype=torch.bfloat16)

    def _set_noise(self, step: int, batch: int) -> None:
        # The step is the optimizer's, however many batches it has: messages and files name it.
        self.pipeline.steps = step
        for stage in self.pipeline.local.values():
            stage.seed = derive_seed(self._config.seed, batch, "noise")
            stage.draws.seed = derive_seed(self._config.seed, batch, "draws")

    def _layout_of(self) -> list[Any]:
        c = self._config
        return [c.stages, c.replicas, c.schedule, c.divided, c.count, self._task.order.batch]
