"""What becomes of the torch functions that receive a parameter: a file for each kind of function.

A function without a rule receives the perturbed parameter as a tensor. A rule is there where that
would be slower, wrong, or more than torch.func.vmap can do.
"""

from importlib import import_module
from pkgutil import iter_modules

from pprs.smoothing.rules.registry import OF_ANY_CALL, RULES, Call, rule

__all__ = ["OF_ANY_CALL", "RULES", "Call", "rule"]

for _kind in iter_modules(__path__):
    import_module(f"{__name__}.{_kind.name}")  # registers its rules
