"""What is averaged: a loss closure becomes its Gaussian-smoothed loss."""

from pprs.smoothing._checks import check_finite, check_model, check_normalisation, check_scalar
from pprs.smoothing._compiled import available as compiled
from pprs.smoothing._cost import always
from pprs.smoothing._lanes import owned
from pprs.smoothing._law import (
    DEFAULT_SAMPLES,
    DEFAULT_SIGMA,
    Law,
    NoiseLaw,
    Scale,
    Schedule,
    Sigma,
)
from pprs.smoothing._noise import Noise, Role, derive_seed, fresh_seed
from pprs.smoothing._repeat import repeat
from pprs.smoothing._smooth import Batch, Closure, at_perturbed, losses_at, smooth

__all__ = [
    "DEFAULT_SAMPLES",
    "DEFAULT_SIGMA",
    "Batch",
    "Closure",
    "Law",
    "Noise",
    "NoiseLaw",
    "Role",
    "Scale",
    "Schedule",
    "Sigma",
    "always",
    "at_perturbed",
    "check_finite",
    "check_model",
    "check_normalisation",
    "check_scalar",
    "compiled",
    "derive_seed",
    "fresh_seed",
    "losses_at",
    "owned",
    "repeat",
    "smooth",
]
