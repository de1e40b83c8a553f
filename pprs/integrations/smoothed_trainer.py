"""Hugging Face's `Trainer` with the smoothed loss."""

from transformers import Trainer

from pprs.integrations.smoothed_loss import SmoothedLoss


class SmoothedTrainer(SmoothedLoss, Trainer):
    """A `transformers.Trainer` that trains by the smoothed loss; see `SmoothedLoss`.

    Args:
        perturbation: what is averaged; or sigma. By default 8 perturbations, 0.01 of the norm of
            each filter.
        unused: whether trainable parameters may be left unused, see `pprs.smooth`.
        All other arguments are those of `Trainer`.

    Example:
        `SmoothedTrainer(model=model, args=arguments, train_dataset=data).train()`
    """
