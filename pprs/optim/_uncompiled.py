"""Optimizers without torch's compiler, whose import takes longer than torch's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch.optim import Optimizer

# By which torch knows a function that its compiler was told to leave alone.
_MARK = "__dynamo_disable"


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside the block, adding parameters to an optimizer does not import torch's compiler.

    Torch does so to tell it to leave that function alone: where it is not imported, nothing is
    compiled, and the function can as well be called as it is.
    """
    function = getattr(Optimizer.add_param_group, "__wrapped__", None)
    if function is None or "torch._dynamo" in sys.modules or hasattr(function, _MARK):
        yield
        return
    setattr(function, _MARK, function)
    try:
        yield
    finally:
        delattr(function, _MARK)
