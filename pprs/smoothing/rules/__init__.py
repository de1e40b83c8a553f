"""What becomes of the torch functions that receive a parameter: a file for each kind of function.

A function without a rule receives the perturbed parameter as a tensor. A rule is there where that
would be slower, wrong, or more than torch.func.vmap can do.
"""

from pprs.smoothing.rules import (  # noqa: F401 (each registers its rules)
    attention,
    convolution,
    embedding,
    linear,
    metadata,
    normalisation,
    one_by_one,
    transposition,
)
from pprs.smoothing.rules.registry import OF_ANY_CALL, RULES, Call, rule

__all__ = ["OF_ANY_CALL", "RULES", "Call", "rule"]
