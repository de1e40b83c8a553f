r"""How long procedures take in the unit-time model: lower bounds, and rates of methods.

All arguments go by name, and mean the same in every function; what one takes otherwise, its own
docstring says.

Args:
    lipschitz: constant $L > 0$ of the objective, of each example where it is a mean of several.
    smoothness: constant $\beta > 0$ of the gradient.
    radius: distance $R > 0$ of the start to a minimizer.
    gap: $D > 0$, how far the start lies above the minimum; 0 as well where it is not divided by.
    epsilon: precision $\varepsilon > 0$ in function value.
    goldstein_radius: $r > 0$, how far from $\theta_t$ gradients count.
    dimension: number $d \ge 1$ of parameters.
    depth: number $\Delta \ge 1$ of nodes of the chain.
    batch: number $m \ge 1$ of examples whose mean is the objective; each is a pass of its own.
    iterations: number $T \ge 1$ of steps.
    samples: number $K \ge 1$ of perturbations in a step.
    sigma: standard deviation $\gamma > 0$ of the perturbations.
    width: Gaussian width $0 < W \le \sqrt d$ of the subgradients, for convex objectives.
    time: pipeline time $t \ge 0$; one forward or one backward pass of one node takes 1.
    printed: the equation as the source has it, slips included; by default the form that is proved.

Raises:
    ValueError: by all, for an argument out of its range, and for a number of steps or a time that
        is no floating-point number.
"""

from pprs.theory.bounds._beta_smooth import (
    accelerated,
    gradient_descent,
    gradient_descent_nonconvex,
)
from pprs.theory.bounds._convex import pprs_convex, pprs_gap, subgradient, time_bound_14
from pprs.theory.bounds._delayed import delayed_gradients
from pprs.theory.bounds._duchi import randomized_smoothing
from pprs.theory.bounds._finite_sums import (
    finite_sum_example,
    finite_sum_gpipe,
    finite_sum_shared,
    time_bound_finite_sum,
)
from pprs.theory.bounds._gaps import (
    gradient_descent_gap,
    randomized_smoothing_gap,
    subgradient_gap,
)
from pprs.theory.bounds._lower import (
    coordinates,
    exact_coordinates,
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
from pprs.theory.bounds._nonconvex_optimal import pprs_nonconvex_optimal
from pprs.theory.bounds._optimal import pprs_optimal, sharp_gap
from pprs.theory.bounds._proved import pprs_proved, proved_gap
from pprs.theory.bounds._regimes import RegimeBound, all_bounds, best_unlike_pprs
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._steps import Noise
from pprs.theory.bounds._width import Width, sampled_width, width_of_pieces, width_of_rank

__all__ = [
    "Bound",
    "Noise",
    "RegimeBound",
    "Width",
    "accelerated",
    "all_bounds",
    "best_unlike_pprs",
    "coordinates",
    "delayed_gradients",
    "exact_coordinates",
    "finite_sum_example",
    "finite_sum_gpipe",
    "finite_sum_shared",
    "gap_nonsmooth",
    "gap_smooth_convex",
    "goldstein_bound",
    "goldstein_norm",
    "gradient_descent",
    "gradient_descent_gap",
    "gradient_descent_nonconvex",
    "lemma1",
    "lemma2",
    "lower_nonsmooth",
    "lower_smooth_convex",
    "lower_smooth_nonconvex",
    "pprs_convex",
    "pprs_gap",
    "pprs_nonconvex",
    "pprs_nonconvex_optimal",
    "pprs_optimal",
    "pprs_proved",
    "proved_gap",
    "randomized_smoothing",
    "randomized_smoothing_gap",
    "sampled_width",
    "sharp_gap",
    "smoothed_gradient_bound",
    "subgradient",
    "subgradient_gap",
    "tail",
    "tail_bounds",
    "time_bound_14",
    "time_bound_finite_sum",
    "time_scale_23",
    "width_of_pieces",
    "width_of_rank",
]
