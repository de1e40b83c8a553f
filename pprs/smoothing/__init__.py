"""What is averaged: a loss closure becomes its Gaussian-smoothed loss."""

import warnings

from pprs.smoothing._checks import (
    Refusal,
    Unused,
    check_apart,
    check_closure,
    check_finite,
    check_met,
    check_model,
    check_normalisation,
    check_scalar,
    check_shaped,
    check_unused,
    warn_of_zeros,
)
from pprs.smoothing._compiled import available as compiled
from pprs.smoothing._cost import always
from pprs.smoothing._draws import Lanes, Target
from pprs.smoothing._hooks import StepGradients, hooks_held
from pprs.smoothing._lanes import owned
from pprs.smoothing._noise import Noise, Role, derive_seed, fresh_seed
from pprs.smoothing._perturbation import (
    DEFAULT_SAMPLES,
    DEFAULT_SIGMA,
    NoiseKind,
    Perturbation,
    Scale,
    Schedule,
    Sigma,
    default,
)
from pprs.smoothing._reach import Place, places
from pprs.smoothing._repeat import repeat
from pprs.smoothing._smooth import Batch, Closure, at_perturbed, losses_at, smooth
from pprs.smoothing._watch import has_run, is_first

__all__ = [
    "DEFAULT_SAMPLES",
    "DEFAULT_SIGMA",
    "Batch",
    "Closure",
    "Lanes",
    "Noise",
    "NoiseKind",
    "Perturbation",
    "Place",
    "Refusal",
    "Role",
    "Scale",
    "Schedule",
    "Sigma",
    "StepGradients",
    "Target",
    "Unused",
    "always",
    "at_perturbed",
    "check_apart",
    "check_closure",
    "check_finite",
    "check_met",
    "check_model",
    "check_normalisation",
    "check_scalar",
    "check_shaped",
    "check_unused",
    "compiled",
    "default",
    "derive_seed",
    "fresh_seed",
    "has_run",
    "hooks_held",
    "is_first",
    "losses_at",
    "owned",
    "places",
    "repeat",
    "smooth",
    "warn_of_zeros",
]


def __getattr__(name: str) -> object:
    if name != "NoiseLaw":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "pprs.smoothing.NoiseLaw is now called NoiseKind: use that", FutureWarning, stacklevel=2
    )
    return NoiseKind
