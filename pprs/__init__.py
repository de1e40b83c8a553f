"""Pipeline Parallel Random Smoothing (Colin, Scaman, dos Santos; NeurIPS 2019)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pprs import optim, pipeline, smoothing, theory
    from pprs.optim import AGD, PPRS, SearchedStep, minimize
    from pprs.smoothing import Perturbation, capture, smooth

__all__ = [
    "AGD",
    "PPRS",
    "Perturbation",
    "SearchedStep",
    "capture",
    "minimize",
    "optim",
    "pipeline",
    "smooth",
    "smoothing",
    "theory",
]
__version__ = "0.1.0"

# Imported when first used, so that `pprs --help` and the theory do without torch.
_MEMBERS = {
    "AGD": "pprs.optim",
    "PPRS": "pprs.optim",
    "Perturbation": "pprs.smoothing",
    "SearchedStep": "pprs.optim",
    "capture": "pprs.smoothing",
    "minimize": "pprs.optim",
    "smooth": "pprs.smoothing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _MEMBERS:
        return import_module(f"{__name__}.{name}")  # which is an attribute from then on
    member = globals()[name] = getattr(import_module(_MEMBERS[name]), name)
    return member


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
