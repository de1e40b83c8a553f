"""What every process builds from the settings: model, data, loss and order of the examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import nn
from torch.nn.parameter import is_lazy

from pprs.smoothing import check_normalisation
from pprs.training.config import TrainConfig
from pprs.training.data import BatchOrder, Examples, training_and_validation
from pprs.training.learning import loss_function
from pprs.training.losses import Loss
from pprs.training.user_functions import called

Data: TypeAlias = tuple[Examples, Examples | None]


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and for how long.

    Args:
        model: in training mode.
        training: examples to train on.
        validation: examples to evaluate on, if there are any.
        loss: of outputs and targets.
        order: of the training examples.
        steps: of the optimizer.
    """

    model: nn.Module
    training: Examples
    validation: Examples | None
    loss: Loss
    order: BatchOrder
    steps: int

    @classmethod
    def of(cls, config: TrainConfig, data: Data | None = None) -> Task:
        """Import and call what the settings name.

        Args:
            config: the settings.
            data: to train and to evaluate on, instead of those that the settings name.

        Raises:
            ValueError: with what the user's functions must return, and what they returned.
        """
        loss = loss_function(config.loss)
        model = _model(config)
        training, validation = data or read_data(config)
        batch = min(config.batch or 32, len(training))
        order = BatchOrder(len(training), batch, config.accumulate, config.seed)
        steps = config.steps or (config.epochs or 0) * order.steps_per_epoch
        return cls(model, training, validation, loss, order, steps)

    def example(self, size: int = 2) -> tuple[Any, ...]:
        """The model's inputs for this many examples."""
        return self.training.arguments(self.training.example(size))


def read_data(config: TrainConfig) -> Data:
    """Call the user's function: examples to train on, and to evaluate on if there are any.

    Raises:
        ValueError: with what the function must return, and what it returned.
    """
    data = called("data", config.data, config.seed)
    return training_and_validation(data, shift=config.shift_labels)


def _model(config: TrainConfig) -> nn.Module:
    model = called("model", config.model, config.seed)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model={config.model} must return a torch.nn.Module, got a {type(model).__name__}"
        )
    model.train()
    try:
        check_normalisation(model)
    except RuntimeError as error:
        layer = str(error).partition(" is in")[0]
        # In training mode, as it will be: evaluation mode is no way out here.
        raise ValueError(
            f"model={config.model} has {layer}, whose running statistics mix the examples of a "
            f"batch and its perturbed passes: replace it by nn.GroupNorm or nn.LayerNorm"
        ) from None
    if any(is_lazy(p) for p in model.parameters()):
        raise ValueError(f"model={config.model} has lazy layers: give them their inputs' sizes")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"model={config.model} has no parameter that can be trained")
    return model
