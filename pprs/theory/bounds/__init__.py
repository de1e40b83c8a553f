"""How long procedures take in the unit-time model: lower bounds, and rates of methods."""

from pprs.theory.bounds._convex import pprs_convex, pprs_gap, subgradient, time_bound_14
from pprs.theory.bounds._finite_sums import (
    finite_sum_example,
    finite_sum_gpipe,
    finite_sum_shared,
    time_bound_finite_sum,
)
from pprs.theory.bounds._lower import (
    coordinates,
    gap_nonsmooth,
    gap_smooth_convex,
    lower_nonsmooth,
    lower_smooth_convex,
    lower_smooth_nonconvex,
)
from pprs.theory.bounds._noisy import lemma1, lemma2
from pprs.theory.bounds._nonconvex import (
    goldstein_bound,
    goldstein_norm,
    pprs_nonconvex,
    smoothed_gradient_bound,
    tail,
    tail_bounds,
    time_scale_23,
)
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._smooth import accelerated, gradient_descent, gradient_descent_nonconvex
from pprs.theory.bounds._steps import Noise

__all__ = [
    "Bound",
    "Noise",
    "accelerated",
    "coordinates",
    "finite_sum_example",
    "finite_sum_gpipe",
    "finite_sum_shared",
    "gap_nonsmooth",
    "gap_smooth_convex",
    "goldstein_bound",
    "goldstein_norm",
    "gradient_descent",
    "gradient_descent_nonconvex",
    "lemma1",
    "lemma2",
    "lower_nonsmooth",
    "lower_smooth_convex",
    "lower_smooth_nonconvex",
    "pprs_convex",
    "pprs_gap",
    "pprs_nonconvex",
    "smoothed_gradient_bound",
    "subgradient",
    "tail",
    "tail_bounds",
    "time_bound_14",
    "time_bound_finite_sum",
    "time_scale_23",
]
