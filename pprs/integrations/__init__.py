"""The smoothed loss and the pipeline inside the training loops of other packages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pprs.integrations.smoothed_loss import SmoothedLoss

if TYPE_CHECKING:
    from pprs.integrations.pipeline_loss import pipeline_loss
    from pprs.integrations.pipeline_strategy import PipelineStrategy
    from pprs.integrations.pipelined import Pipelined
    from pprs.integrations.pipelined_accelerator import PipelinedAccelerator
    from pprs.integrations.pipelined_trainer import PipelinedTrainer
    from pprs.integrations.smoothed_trainer import SmoothedTrainer

__all__ = [
    "PipelineStrategy",
    "Pipelined",
    "PipelinedAccelerator",
    "PipelinedTrainer",
    "SmoothedLoss",
    "SmoothedTrainer",
    "pipeline_loss",
]

# What needs torch's pipelines, transformers or lightning, which take seconds.
_LATER = {
    "PipelineStrategy": "pipeline_strategy",
    "Pipelined": "pipelined",
    "PipelinedAccelerator": "pipelined_accelerator",
    "PipelinedTrainer": "pipelined_trainer",
    "SmoothedTrainer": "smoothed_trainer",
    "pipeline_loss": "pipeline_loss",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found  # not the module of the same name
    return found
