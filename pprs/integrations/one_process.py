"""Let Accelerate, and what is built on it, take a rank of a pipeline for a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate.state import AcceleratorState, PartialState  # type: ignore[import-untyped]
from accelerate.utils import DistributedType  # type: ignore[import-untyped]


def act_as_one_process() -> None:
    """Have batches not divided, gradients not averaged and models not wrapped.

    The processes of a pipeline train one model on the same batches. Which of them writes files is
    still decided by their rank. Every new `TrainingArguments` or `Accelerator` may find out anew
    that there are others.
    """
    for state in (PartialState, AcceleratorState):
        if state._shared_state:
            state._shared_state.update(distributed_type=DistributedType.NO, num_processes=1)


@contextmanager
def own_forward(model: Any) -> Iterator[None]:
    """Take off what Accelerate puts around the forward of a model for mixed precision."""
    wrapped = vars(model).pop("forward", None) if hasattr(model, "_original_forward") else None
    if wrapped is not None and model._original_forward.__func__ is not type(model).forward:
        model.forward = model._original_forward
    try:
        yield
    finally:
        if wrapped is not None:
            model.forward = wrapped
