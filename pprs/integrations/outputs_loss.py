"""The loss that a Hugging Face trainer takes from a model, as a function of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

# What `Trainer.compute_loss` gives of a model, inputs, and the number of items in the batch.
Losses = Callable[..., Any]


class OutputsLoss:
    """The loss of a trainer as one of outputs and labels, which microbatches can have each.

    It is compared with the trainer's own on the first batch. Where that is a sum divided by a
    number of labels, microbatches are divided by that of all of them together.

    Args:
        compute_loss: the trainer's own; it runs the model.
        model: that it trains.
        inputs: of the first batch, with labels.
        label: their name.
        count: the number of labels that count.
        divided: whether microbatches have some of the examples each.

    Raises:
        ValueError: if outputs and labels alone do not give the trainer's loss, or it is no sum or
            mean over examples.
    """

    def __init__(
        self,
        compute_loss: Losses,
        model: nn.Module,
        inputs: dict[str, Any],
        label: str,
        count: Callable[[Tensor], Tensor],
        *,
        divided: bool,
    ) -> None:
        self._compute, self._model, self._label, self._count = compute_loss, model, label, count
        labels, training = inputs[label], model.training
        number = count(labels)
        self._items: Tensor | int = number
        self._rows, self._summed = len(labels), False
        model.eval()
        with torch.no_grad():
            own, outputs = compute_loss(
                model, dict(inputs), return_outputs=True, num_items_in_batch=number
            )
            half = compute_loss(model, dict(inputs), num_items_in_batch=2 * number)
            outputs = getattr(outputs, "logits", outputs)
            if not isinstance(outputs, Tensor):
                raise ValueError(
                    f"{type(model).__name__} must give one tensor, or .logits, for a pipeline "
                    f"inside a trainer, but gave a {type(outputs).__name__}"
                )
            found = self(outputs, labels)
        model.train(training)
        self._over_all = not torch.isclose(own, half, rtol=1e-3)
        if not torch.isclose(own, found, rtol=1e-3, atol=1e-6):
            raise ValueError(
                f"the loss of {type(model).__name__} is {own.item():.6g}, but its outputs and "
                f"labels alone give {found.item():.6g}, and the last stage of a pipeline has "
                f"nothing else: pass compute_loss_func=, a function of outputs, labels and "
                f"num_items_in_batch"
            )
        with torch.no_grad():
            self._summed = divided and self._is_sum(outputs, labels)

    def of_batch(self, labels: Tensor, items: Tensor | int | None) -> None:
        """Go on to a batch with these labels, of a step with that many items."""
        self._rows = len(labels)
        self._items = items if self._over_all and items is not None else self._count(labels)

    def __call__(self, outputs: Any, labels: Tensor) -> Tensor:
        """The loss of some examples of the batch, whose mean over all parts is that of the batch.

        Args:
            outputs: of the model.
            labels: shape `(examples, ...)`.
        """
        given = _Given(self._model, outputs, self._label, self._items)
        loss: Tensor = self._compute(given, {self._label: labels}, num_items_in_batch=self._items)
        return loss * (self._rows / len(labels)) if self._summed else loss

    def _is_sum(self, outputs: Tensor, labels: Tensor) -> bool:
        """Whether the loss of a batch is the sum of its parts', not their mean."""
        parts = self(outputs, labels) + self(-outputs, labels)
        whole = self(torch.cat([outputs, -outputs]), torch.cat([labels, labels]))
        if torch.isclose(whole, parts, rtol=1e-3):
            return True
        if torch.isclose(whole, parts / 2, rtol=1e-3):
            return False
        raise ValueError(
            "the loss is no sum or mean over examples, so microbatches of some examples cannot "
            "have each their own: pass a perturbation, with noise='shared'"
        )


class _Given(nn.Module):
    """A model that has run: it gives these outputs, and the loss that its class takes of them."""

    def __init__(self, model: nn.Module, outputs: Any, label: str, items: Tensor | int) -> None:
        super().__init__()
        self._of: list[Any] = [model]  # not a part of this one
        self._outputs, self._label, self._number = outputs, label, items

    def _get_name(self) -> str:
        return type(self._of[0]).__name__

    def forward(self, **inputs: Any) -> Any:
        (model,) = self._of
        loss, labels = None, inputs.get(self._label)
        if labels is not None and hasattr(model, "loss_function"):
            config = model.config.get_text_config()
            loss = model.loss_function(
                logits=self._outputs,
                pooled_logits=self._outputs,
                labels=labels,
                config=model.config,
                vocab_size=getattr(config, "vocab_size", None),
                num_items_in_batch=self._number,
            )
        return SequenceClassifierOutput(loss=loss, logits=self._outputs)
