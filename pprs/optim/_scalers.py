"""Why a GradScaler does not go with PPRS: it scales one gradient, and undoes that before a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

_WAY_OUT = (
    "PPRS does not go with a GradScaler: it takes its K gradients inside the step, where nothing "
    "takes their scale off again. Use autocast with bfloat16, which needs no scaling; or the "
    "smoothed loss before AGD, the same algorithm: scaler.scale(pprs.smooth(closure, model, ...))"
    ".backward(), scaler.step(agd), scaler.update()"
)


def refuse_scaled(optimizer: Optimizer) -> None:
    """Raise ``RuntimeError`` in a step that a scaler takes, which leaves the scale behind."""
    if optimizer.__dict__.pop("grad_scale", None) is not None:
        optimizer.__dict__.pop("found_inf", None)
        raise RuntimeError(_WAY_OUT)


@contextmanager
def scalers_refused() -> Iterator[None]:
    """Inside the block a scaler that is enabled raises ``RuntimeError`` instead of scaling."""
    scale = GradScaler.scale

    def refused(scaler: GradScaler, outputs: Tensor) -> Tensor:
        if scaler.is_enabled():
            raise RuntimeError(_WAY_OUT)
        return outputs

    GradScaler.scale = refused  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        GradScaler.scale = scale  # type: ignore[method-assign]
