"""Which way to smooth a linear map: without forming X, or with the perturbed weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias

Way: TypeAlias = Literal["implicit", "materialised"]

_forced: ContextVar[Way | None] = ContextVar("_forced", default=None)


@dataclass(frozen=True)
class LinearShape:
    """What the choice depends on.

    Args:
        streams: independent perturbations.
        rows: inputs per stream.
        inputs: width of an input.
        outputs: width of an output.
        input_gradient: whether the gradient of the inputs is needed.
        cuda: whether it runs on a CUDA device.
    """

    streams: int
    rows: int
    inputs: int
    outputs: int
    input_gradient: bool
    cuda: bool


@contextmanager
def always(way: Way) -> Iterator[None]:
    """Smooth every linear map this way inside the block, where it is possible.

    "implicit" is refused where the parameter was already needed as a tensor in the same pass.
    """
    token = _forced.set(way)
    try:
        yield
    finally:
        _forced.reset(token)


def choose(shape: LinearShape) -> Way:
    """The cheaper way, unless :func:`always` names one."""
    forced = _forced.get()
    if forced is not None:
        return forced
    return "implicit" if _implicit(shape) < _materialised(shape) else "materialised"


# Nanoseconds on a CPU with four threads, see benchmarks/gradient.
_NORMAL = 1.0
_FLOP = 0.008
_BYTE = 0.1


def _implicit(shape: LinearShape) -> float:
    n, i, o = shape.rows, shape.inputs, shape.outputs
    normals = n * o + (n * i if shape.input_gradient else 0)
    products = 2 * n * n * (2 * i + o) + (2 * n * n * (4 * i + 3 * o) if shape.input_gradient else 0)
    factors = 4 * n**3
    return normals * _NORMAL + (products + factors) * _FLOP


def _materialised(shape: LinearShape) -> float:
    n, i, o = shape.rows, shape.inputs, shape.outputs
    return i * o * (_NORMAL + 16 * _BYTE) + 0 * n
