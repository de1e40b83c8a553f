"""What is averaged: a loss closure becomes its Gaussian-smoothed loss."""

from typing import TYPE_CHECKING

from pprs._renamed import renamed
from pprs.smoothing._caches import fresh_caches
from pprs.smoothing._capture import Captured, capture
from pprs.smoothing._checks import (
    NotFiniteError,
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
from pprs.smoothing._closure_variables import Place, places
from pprs.smoothing._cost import force_way
from pprs.smoothing._generators import Generators
from pprs.smoothing._graph import leaves, nodes
from pprs.smoothing._holding import holding
from pprs.smoothing._hooks import StepGradients, hooks_held
from pprs.smoothing._noise import Noise, Role, checked_seed, derive_seed, fresh_seed
from pprs.smoothing._perturbation import (
    DEFAULT_SAMPLES,
    DEFAULT_SIGMA,
    NoiseKind,
    PerStep,
    Perturbation,
    Scale,
    Sigma,
    default,
    is_default,
)
from pprs.smoothing._recordings import Recordings
from pprs.smoothing._repeat import repeat
from pprs.smoothing._sharing import Samples
from pprs.smoothing._size_check import (
    SigmaWarning,
    SizeCheck,
    outside,
    plain_loss,
    warn_of_size,
)
from pprs.smoothing._smooth import Batch, Closure, at_perturbed, losses_at, smooth
from pprs.smoothing._target import Target
from pprs.smoothing._vmap import not_a_view
from pprs.smoothing._watch import has_run, is_first
from pprs.smoothing.native.kernels import has_native_kernels
from pprs.smoothing.rules import Call, rule

__all__ = [
    "DEFAULT_SAMPLES",
    "DEFAULT_SIGMA",
    "Batch",
    "Call",
    "Captured",
    "Closure",
    "Generators",
    "Noise",
    "NoiseKind",
    "NotFiniteError",
    "PerStep",
    "Perturbation",
    "Place",
    "Recordings",
    "Refusal",
    "Role",
    "Samples",
    "Scale",
    "Sigma",
    "SigmaWarning",
    "SizeCheck",
    "StepGradients",
    "Target",
    "Unused",
    "at_perturbed",
    "capture",
    "check_apart",
    "check_closure",
    "check_finite",
    "check_met",
    "check_model",
    "check_normalisation",
    "check_scalar",
    "check_shaped",
    "check_unused",
    "checked_seed",
    "default",
    "derive_seed",
    "force_way",
    "fresh_caches",
    "fresh_seed",
    "has_native_kernels",
    "has_run",
    "holding",
    "hooks_held",
    "is_default",
    "is_first",
    "leaves",
    "losses_at",
    "nodes",
    "not_a_view",
    "outside",
    "places",
    "plain_loss",
    "repeat",
    "rule",
    "smooth",
    "warn_of_size",
    "warn_of_zeros",
]

if not TYPE_CHECKING:  # which would take any name for one of these
    __getattr__ = renamed(
        __name__,
        {
            "Law": "Perturbation",
            "NoiseLaw": "NoiseKind",
            "Schedule": "PerStep",
            "always": "force_way",
            "compiled": "has_native_kernels",
        },
    )
