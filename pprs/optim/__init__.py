"""How a step is taken: Nesterov's accelerated gradient (AGD), and PPRS = smoothing + AGD."""

from pprs.optim._agd import AGD, Momentum
from pprs.optim._constants import Constants, estimate_constants
from pprs.optim._minimize import minimize
from pprs.optim._minimum import Minima, Minimum, Step
from pprs.optim._pprs import PPRS

__all__ = [
    "AGD",
    "PPRS",
    "Constants",
    "Minima",
    "Minimum",
    "Momentum",
    "Step",
    "estimate_constants",
    "minimize",
]
