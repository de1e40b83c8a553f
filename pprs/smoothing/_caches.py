"""What torch remembers of parameters, which a perturbation must not read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.utils import parametrize


@contextmanager
def fresh_caches() -> Iterator[None]:
    """Inside the block nothing is known that was computed from parameters before it, nor after.

    Autocast keeps the low-precision copies of parameters, and `parametrize.cached()` the weights
    computed from them: both by the parameter's identity, which a perturbation does not change.
    """
    _forget()
    try:
        yield
    finally:
        _forget()


@contextmanager
def loose_weights() -> Iterator[None]:
    """Inside the block recurrent layers on a GPU say nothing of weights that lie apart.

    Torch advises to compact them, which perturbed weights cannot be.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous")
        yield


def _forget() -> None:
    torch.clear_autocast_cache()
    parametrize._cache.clear()
