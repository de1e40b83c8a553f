"""What is averaged: a loss closure becomes its Gaussian-smoothed loss."""

from pprs.smoothing._checks import (
    check_finite,
    check_normalisation,
    check_smoothing,
    checked_parameters,
)
from pprs.smoothing._noise import Noise, derive_seed, fresh_seed
from pprs.smoothing._perturb import perturb
from pprs.smoothing._repeat import repeat
from pprs.smoothing._smooth import Closure, losses_at, smooth

__all__ = [
    "Closure",
    "Noise",
    "check_finite",
    "check_normalisation",
    "check_smoothing",
    "checked_parameters",
    "derive_seed",
    "fresh_seed",
    "losses_at",
    "perturb",
    "repeat",
    "smooth",
]
