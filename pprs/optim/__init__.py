"""How a step is taken: Nesterov's accelerated gradient (AGD), and PPRS = smoothing + AGD."""

from pprs.optim._agd import AGD, Momentum
from pprs.optim._constants import Constants, estimate_constants
from pprs.optim._minimize import minimize
from pprs.optim._minimum import Minima, Minimum, Step
from pprs.optim._pprs import PPRS
from pprs.optim._search import FACTORS
from pprs.optim._searched_step import Evaluator, SearchedStep
from pprs.optim._smoothed_gradient import Centre, best

__all__ = [
    "AGD",
    "FACTORS",
    "PPRS",
    "Centre",
    "Constants",
    "Evaluator",
    "Minima",
    "Minimum",
    "Momentum",
    "SearchedStep",
    "Step",
    "best",
    "estimate_constants",
    "minimize",
]
