"""What is trained and tested: the user's model on the user's data, or digits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from pprs.compare.config import CompareConfig
from pprs.compare.digits import CLASSES, PIXELS, few_shot_digits
from pprs.compare.hold_out import hold_out
from pprs.compare.methods import Setting
from pprs.compare.network import relu_network
from pprs.pipeline import Chain, chain
from pprs.smoothing import derive_seed
from pprs.training.config import TrainConfig
from pprs.training.data import BatchOrder, Examples
from pprs.training.evaluation import has_accuracy
from pprs.training.learning import loss_function
from pprs.training.losses import Loss
from pprs.training.task import Task, read_data

# Training examples on which the training loss is measured, at most.
_MEASURED = 256


@dataclass(frozen=True)
class Parts:
    """Examples of a run.

    Args:
        training: to train on.
        other: to measure the metric on: test examples, or those that are held out.
    """

    training: Examples
    other: Examples

    def sample(self) -> Examples:
        """Training examples, to measure the loss on."""
        if len(self.training) <= _MEASURED:
            return self.training
        order = torch.randperm(len(self.training), generator=torch.Generator().manual_seed(0))
        return self.training.part(order[:_MEASURED].tolist(), "the training data")


@dataclass
class Subject:
    """The task of a comparison; every process makes one, and the same.

    Args:
        config: the settings.
    """

    config: CompareConfig
    _own: tuple[Examples, Examples] | None = field(default=None, init=False)
    _chains: dict[int, Chain] = field(default_factory=dict, init=False)

    def parts(self, seed: int) -> Parts:
        """What a seed trains on at last, and is tested on.

        Raises:
            ValueError: if there are too few examples.
        """
        if not self.config.model:
            train, test = few_shot_digits(self.config.shots, self._generator(seed, "examples"))
            named = [
                Examples(TensorDataset(part.x, part.y), f"the {what} data")
                for part, what in ((train, "training"), (test, "test"))
            ]
            return Parts(named[0], self._limited(named[1]))
        if self._own is None:
            self._own = self._read()
        return Parts(*self._own)

    def held_out(self, seed: int) -> Parts:
        """What a trial trains on, and is compared on: parts of the training examples.

        Raises:
            ValueError: if none can be held out.
        """
        training = self.parts(seed).training
        share, generator = self.config.chosen.held_out, self._generator(seed, "held out")
        left, held = hold_out(training.labels, len(training), share, generator)
        return Parts(
            training.part(left, "the training data"), training.part(held, "the held-out data")
        )

    def task(self, settings: TrainConfig, training: Examples, *, whole: bool = False) -> Task:
        """The model as it starts, and the order of the examples.

        Args:
            settings: of the run.
            training: its examples.
            whole: leave the model as the user's function returns it.
        """
        if self.config.model:
            task = Task.of(settings, (training, None))
            model = task.model if whole else self._traced_once(task, settings.stages)
            return replace(task, model=model)
        weights = self._generator(settings.seed, "weights")
        depth = self.config.chosen.depth
        assert depth is not None
        model = relu_network(PIXELS, self.config.width, CLASSES, depth, generator=weights)
        batch = min(settings.batch or len(training), len(training))
        order = BatchOrder(len(training), batch, 1, settings.seed)
        loss: Loss = loss_function(settings.loss)
        return Task(model, training, None, loss, order, settings.steps or 0)

    def _traced_once(self, task: Task, stages: int) -> nn.Module:
        """The model of a task as a chain: to trace it takes longer than many runs.

        What `state_dict` and buffers hold is the model's own; all else that it has is as in the
        first run.
        """
        model = task.model
        if type(model).forward is nn.Sequential.forward:  # is not traced
            return model
        if stages not in self._chains:
            self._chains[stages] = chain(model, *task.example(), stages=stages)
        traced = copy.deepcopy(self._chains[stages])
        assert traced.origin is not None
        own = traced.origin.model
        own.load_state_dict(model.state_dict())
        kept = dict(own.named_buffers())
        for name, buffer in model.named_buffers():
            kept[name].copy_(buffer)
        return traced

    def _read(self) -> tuple[Examples, Examples]:
        config = self.config
        training, test = read_data(self._settings())
        if test is None:
            share, generator = config.chosen.held_out, self._generator(config.seed, "test")
            left, held = hold_out(training.labels, len(training), share, generator)
            test = training.part(held, "the test data")
            training = training.part(left, "the training data")
        return training, self._limited(test)

    def _limited(self, test: Examples) -> Examples:
        most = self.config.tested
        if len(test) <= most:
            return test
        order = torch.randperm(len(test), generator=self._generator(self.config.seed, "tested"))
        return test.part(sorted(order[:most].tolist()), "the test data")

    def _settings(self) -> TrainConfig:
        return self.config.training("plain", Setting(1e-3, 0.0), 1, self.config.seed)

    def _generator(self, seed: int, what: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.config.seed, seed, what))


@dataclass(frozen=True)
class Facts:
    """What is known of a task before anything is measured.

    Args:
        examples: to train on.
        held_out: of these, for comparing trials; 0 if nothing is searched.
        test: to test on.
        parameters: that are trained.
        depth: nodes that the pipeline time counts.
        counted: what these are, in words.
        metric: that decides.
        steps: of the plain optimizer.
    """

    examples: int
    held_out: int
    test: int
    parameters: int
    depth: int
    counted: str
    metric: str
    steps: int

    @property
    def resolution(self) -> float:
        """The smallest difference that the metric can show."""
        return 1 / self.test if self.metric == "accuracy" else 0.0


def facts(subject: Subject) -> Facts:
    """What is known of a task, once its parts were read and its model was made.

    Raises:
        ValueError: if the metric is missing, or there are too few examples.
    """
    config, chosen = subject.config, subject.config.chosen
    parts = subject.parts(config.seed)
    held = len(subject.held_out(config.seed).other) if chosen.trials > 1 else 0
    settings = config.training("plain", Setting(1e-3, 0.0), 1, config.seed)
    task = subject.task(settings, parts.training, whole=True)
    depth, counted = _depth(config, task.model)
    per_epoch = task.order.steps_per_epoch
    epochs = config.epochs or (None if chosen.steps else 10)
    steps = chosen.steps if epochs is None else epochs * per_epoch
    if config.epochs is None and config.steps is None and config.model:
        steps = min(max(100, 10 * per_epoch), 1000)
    assert steps is not None
    return Facts(
        examples=len(parts.training),
        held_out=held,
        test=len(parts.other),
        parameters=sum(p.numel() for p in task.model.parameters() if p.requires_grad),
        depth=depth,
        counted=counted,
        metric=_metric(config, task, parts),
        steps=steps,
    )


def _metric(config: CompareConfig, task: Task, parts: Parts) -> str:
    batch = parts.other.example()
    with torch.no_grad():
        returned = _run(task, parts.other.arguments(batch))
    outputs: Tensor = getattr(returned, "logits", returned)
    able = has_accuracy(outputs, batch.target)
    if config.metric == "accuracy" and not able:
        raise ValueError(
            "metric=accuracy needs whole numbers as labels, and outputs with one more dimension "
            "for the scores of the classes: take --metric loss"
        )
    return config.metric or ("accuracy" if able and batch.target.dim() == 1 else "loss")


def _run(task: Task, arguments: tuple[Any, ...]) -> Any:
    model: Callable[..., Any] = task.model
    if arguments and isinstance(arguments[0], dict):
        return model(**arguments[0])
    return model(*arguments)


def _depth(config: CompareConfig, model: nn.Module) -> tuple[int, str]:
    if not config.model:
        assert config.chosen.depth is not None
        return config.chosen.depth, "the layers of the network"
    if config.depth is not None:
        return config.depth, "as --depth says"
    if config.stages > 1:
        return config.stages, "the stages"
    layers = sum(
        any(p.requires_grad and p.dim() > 1 for p in module.parameters(recurse=False))
        for module in model.modules()
    )
    return max(1, layers), "the model's layers with weights"
