"""Why a GradScaler does not go with PPRS: it scales one gradient, and undoes that before a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any

from torch.amp import GradScaler
from torch.optim import Optimizer

_WAY_OUT = (
    "PPRS does not go with a GradScaler: it takes its K gradients inside the step, where nothing "
    "takes their scale off again. Use autocast with bfloat16, which needs no scaling; or the "
    "smoothed loss before AGD, the same algorithm: scaler.scale(pprs.smooth(closure, model, ...))"
    ".backward(), scaler.step(agd), scaler.update()"
)


def refuse_scaled(optimizer: Optimizer) -> None:
    """Raise `RuntimeError` in a step that a scaler takes, which leaves the scale behind."""
    if optimizer.__dict__.pop("grad_scale", None) is not None:
        optimizer.__dict__.pop("found_inf", None)
        raise RuntimeError(_WAY_OUT)


@contextmanager
def scalers_refused() -> Iterator[None]:
    """Inside the block a scaler that is enabled raises `RuntimeError` instead of scaling."""
    with _lock:  # steps in other threads may begin and end at any time
        if not _stepping:
            _torchs.append(GradScaler.scale)
            GradScaler.scale = _refusing  # type: ignore[method-assign, assignment]
        _stepping.append(get_ident())
    try:
        yield
    finally:
        with _lock:
            _stepping.remove(get_ident())
            if not _stepping:
                GradScaler.scale = _torchs.pop()  # type: ignore[method-assign]


def _refusing(scaler: GradScaler, outputs: Any) -> Any:
    if get_ident() not in _stepping:
        return _torchs[0](scaler, outputs)
    if scaler.is_enabled():
        raise RuntimeError(_WAY_OUT)
    return outputs


_lock = Lock()
_stepping: list[int] = []  # threads
_torchs: list[Callable[..., Any]] = []  # the method that was there
