"""Checks that labels and loss fit the model's outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from pprs.io.notices import warn
from pprs.pipeline.labels import IGNORED, are_labels
from pprs.pipeline.loss import mean_over_samples
from pprs.training.config import TrainConfig
from pprs.training.data import Batch, Examples
from pprs.training.failing_layer import shown
from pprs.training.labels import copies, outside
from pprs.training.losses import LABELLED, Loss
from pprs.training.task import Task
from pprs.training.user_errors import user_code

# Two means of float32 numbers that should be equal.
_CLOSE = 1e-3


def check_labels(
    config: TrainConfig, examples: Examples, outputs: Tensor, batch: Batch, what: str
) -> None:
    """Raise `ValueError` for targets that are no classes of the outputs, where they must be.

    Args:
        config: the settings.
        examples: all of them.
        outputs: for a batch.
        batch: of them.
        what: name of the examples, for errors.
    """
    target = batch.target
    if config.loss not in LABELLED:
        return
    of = f"the loss, {config.loss}, of outputs {shown(outputs)} and targets {shown(target)}"
    if not are_labels(target):
        hint = "y.argmax(1)" if target.shape == outputs.shape else "y.long()"
        raise ValueError(
            f"{of} needs the numbers of classes, whole numbers, as targets: {hint} may give them; "
            f"for others take --loss mse or module:function"
        )
    if target.shape != outputs.shape[:-1]:
        column = target.dim() == outputs.dim() and target.shape[-1] == 1
        hint = ": y.squeeze(-1) has it" if column else ""
        if target.shape == outputs.shape[:1] + outputs.shape[2:]:
            hint = ": classes come last here, as outputs.movedim(1, -1) has them"
        raise ValueError(
            f"{of} needs targets of shape {tuple(outputs.shape[:-1])}, one for each row of scores "
            f"of {outputs.shape[-1]} classes{hint}"
        )
    classes = outputs.shape[-1]
    labels = examples.labels
    found = outside(target if labels is None else labels, classes)
    if found is not None:
        row, label = found
        raise ValueError(
            f"item {row % len(examples)} of {what} has the label {label}, but the loss, "
            f"{config.loss}, takes labels from 0 to {classes - 1}, the {classes} classes of the "
            f"model's outputs, and {IGNORED} for none{_ONE_SCORE if classes == 1 else ''}"
        )


_ONE_SCORE = (
    ": for one score of two classes give a loss of your own, as of "
    "F.binary_cross_entropy_with_logits, or let the model have two outputs"
)


def check_loss(config: TrainConfig, loss: Loss, outputs: Tensor, target: Tensor) -> None:
    """Raise `ValueError` unless a loss gives a finite scalar with a gradient, under vmap too."""
    of = f"the loss, {config.loss}, of outputs {shown(outputs)} and targets {shown(target)}"
    if config.loss == "mse" and outputs.shape != target.shape:
        raise ValueError(f"{of} needs two of one shape{_other_shape(outputs, target)}")
    scores = outputs.detach().requires_grad_()
    with user_code(f"{of} failed"):
        value = loss(scores, target)
    if not isinstance(value, Tensor) or value.dim() != 0 or not value.is_floating_point():
        got = shown(value) if isinstance(value, Tensor) else f"a {type(value).__name__}"
        mean = ": its .mean() is one" if isinstance(value, Tensor) and value.dim() else ""
        raise ValueError(f"{of} must be a scalar tensor, got {got}{mean}")
    gradient = None
    if value.requires_grad:
        with user_code(f"the gradient of {of} failed"):
            (gradient,) = torch.autograd.grad(value, scores, allow_unused=True)
    if gradient is None:
        raise ValueError(f"{of} has no gradient: it must be computed from them by torch functions")
    if not value.isfinite():
        raise ValueError(f"{of} must be finite, got {value.item()}")
    with user_code(f"{of} failed under torch.func.vmap, which runs all perturbations at once"):
        mean_over_samples(loss, (scores[None], target[None]), loss)


def _other_shape(outputs: Tensor, target: Tensor) -> str:
    """What is likely meant by a squared error of two shapes."""
    if target.shape == outputs.shape[:-1] and outputs.shape[-1] == 1:
        return ": y.unsqueeze(-1) has it"
    if are_labels(target):
        return ": if these whole numbers are classes, take --loss cross-entropy"
    return ""


def check_meaning(config: TrainConfig, task: Task, outputs: Tensor, target: Tensor) -> None:
    """Refuse a loss that is no mean over examples, and warn of labels that are the inputs.

    Raises:
        ValueError: for the former where it matters, unless nothing is to be checked: then it warns.
    """
    if config.loss == "cross-entropy" and not config.shift_labels:
        batches = (task.training.example(size) for size in (2, min(32, len(task.training))))
        if all(copies(batch.inputs, batch.target) for batch in batches):
            warn(
                "the labels are the model's inputs, token for token, and are not shifted, so the "
                "model is trained to copy: if it shall predict the next token, pass --shift-labels"
            )
    if ":" in config.loss and _divides_examples(config, task):
        both = float(task.loss(outputs, target))
        alone = [float(task.loss(outputs[i : i + 1], target[i : i + 1])) for i in (0, 1)]
        if abs(both - sum(alone) / 2) > _CLOSE * max(map(abs, (both, *alone))):
            said = (
                f"the loss, {config.loss}, is no mean over examples: of two it is {both:.4g}, of "
                f"each alone {alone[0]:.4g} and {alone[1]:.4g}; microbatches divide the examples "
                f"here, so the gradient depends on their number: --microbatches 1 has none of it"
            )
            if config.check:  # it would fail in the first step
                raise ValueError(f"{said}; or make it a mean")
            warn(said)


def _divides_examples(config: TrainConfig, task: Task) -> bool:
    many = config.microbatches == "auto" or config.microbatches_of(task.order.batch) > 1
    return config.accumulate > 1 or (config.divided == "examples" and many)
