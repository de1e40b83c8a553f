"""Parameters that hold other values for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from pprs.smoothing._caches import fresh_caches


@contextmanager
def holding(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Inside the block parameters hold these values; afterwards the very tensors they held.

    A graph that is recorded inside refers to the parameters themselves: its backward pass needs
    the same values, in another such block.
    """
    # Swapping the data, instead of adding and subtracting, restores every bit.
    kept = [parameter.data for parameter in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value
        with fresh_caches():
            yield
    finally:
        for parameter, data in zip(parameters, kept, strict=True):
            parameter.data = data
