"""Which way to smooth a linear map: without forming X, or with the perturbed weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, TypeAlias

Way: TypeAlias = Literal["implicit", "materialised"]

_forced: ContextVar[Way | None] = ContextVar("_forced", default=None)


class LinearShape(NamedTuple):
    """What the choice depends on.

    Args:
        streams: independent perturbations.
        rows: inputs per stream.
        inputs: width of an input.
        outputs: width of an output.
        input_gradient: whether the gradient of the inputs is needed.
        patches: whether it is a convolution, whose patches would have to be listed.
        cuda: whether it runs on a CUDA device.
        few: whether there is a kernel for so few rows on that.
    """

    streams: int
    rows: int
    inputs: int
    outputs: int
    input_gradient: bool
    patches: bool = False
    cuda: bool = False
    few: bool = False

    @property
    def huge(self) -> bool:
        """Whether a Gram matrix would take more memory than anything else."""
        return self.rows > 1024 and self.rows > 4 * max(self.inputs, self.outputs)


@contextmanager
def force_way(way: Way) -> Iterator[None]:
    """Smooth every linear map this way inside the block, where it is possible.

    "implicit" is not where the parameter was already needed as a tensor in the same pass, nor for
    very many rows.
    """
    token = _forced.set(way)
    try:
        yield
    finally:
        _forced.reset(token)


def choose(shape: LinearShape) -> Way:
    """The cheaper way, unless `force_way` names one."""
    forced = _forced.get()
    if forced == "materialised" or (forced == "implicit" and not shape.huge):
        return forced
    return _cheaper(shape)


@functools.lru_cache(maxsize=4096)
def _cheaper(shape: LinearShape) -> Way:
    constants = _FEW_ON_CUDA if shape.few else _CONSTANTS[shape.cuda][shape.patches]
    implicit, materialised = (
        sum(c * f for c, f in zip(fitted, done, strict=True))
        for fitted, done in zip(constants, features(shape), strict=True)
    )
    return "implicit" if implicit < materialised else "materialised"


# Nanoseconds for each of `features`, for linear maps and convolutions, fitted by
# benchmarks/cost_model on a CPU with two threads; only their relations matter.
_CPU = (
    ((1.13, 0.0241, 0.00596, 0.0124, 4.18e5), (0.501, 0.0127, 3.22e5)),
    ((7.37, 0.0195, 0.0469, 0.0069, 7.03e5), (1.49, 0.00508, 8.5e5)),
)
# The same on an H100, where starting kernels is nearly all. Fitted when materialised weights were
# drawn once, in more time (0.004 and 0.0105 then), and there were no kernels for few rows.
_CUDA = (
    ((0.0314, 7.85e-6, 0.00228, 2.99e-5, 2.66e6), (0.006, 4.07e-5, 1.12e6)),
    ((0.00456, 0.000176, 5.56e-5, 0.0, 5e6), (0.0105, 0.000102, 2.11e6)),
)
_FEW_ON_CUDA = ((0.0, 0.003, 0.0, 2.99e-5, 1.12e6), (0.006, 4.07e-5, 1.12e6))  # estimated
_CONSTANTS = (_CPU, _CUDA)


def features(shape: LinearShape) -> tuple[list[int], list[int]]:
    """What the two ways do: normals, multiplications of each kind, and being called at all."""
    streams, n, i, o = shape.streams, shape.rows, shape.inputs, shape.outputs
    back = 1 if shape.input_gradient else 0
    implicit = [
        streams * n * (o + back * i),
        streams * n * n * (1 + 3 * back) * i + streams * n * n * (1 + 2 * back) * o,
        streams * n**3 * (1 + back),
        streams * n * i * o * (2 + back),
        1,
    ]
    materialised = [streams * i * o, streams * n * i * o * (2 + back), 1]
    return implicit, materialised
