"""The smoothed loss inside the training loops of other packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pprs.integrations.smoothed_loss import SmoothedLoss

if TYPE_CHECKING:
    from pprs.integrations.smoothed_trainer import SmoothedTrainer

__all__ = ["SmoothedLoss", "SmoothedTrainer"]


def __getattr__(name: str) -> Any:
    if name != "SmoothedTrainer":  # which needs Hugging Face's transformers, that takes seconds
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pprs.integrations.smoothed_trainer import SmoothedTrainer

    return SmoothedTrainer
