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
        patches: whether it is a convolution, whose patches would have to be listed.
    """

    streams: int
    rows: int
    inputs: int
    outputs: int
    input_gradient: bool
    patches: bool = False

    @property
    def huge(self) -> bool:
        """Whether a Gram matrix would take more memory than anything else."""
        return self.rows > 1024 and self.rows > 4 * max(self.inputs, self.outputs)


@contextmanager
def always(way: Way) -> Iterator[None]:
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
    """The cheaper way, unless :func:`always` names one."""
    forced = _forced.get()
    if forced == "materialised" or (forced == "implicit" and not shape.huge):
        return forced
    constants = _CONVOLUTION if shape.patches else _LINEAR
    implicit, materialised = (
        sum(c * f for c, f in zip(fitted, done, strict=True))
        for fitted, done in zip(constants, features(shape), strict=True)
    )
    return "implicit" if implicit < materialised else "materialised"


# Nanoseconds for each of `features`, fitted by benchmarks/cost_model on a CPU with four threads.
# Only their relations matter, and those are used on other devices too.
_LINEAR = ((6.65, 0.015, 0.0228, 0.00769, 1.63e6), (1.67, 0.0106, 1.24e6))
_CONVOLUTION = ((18.0, 0.00955, 0.0675, 0.000325, 3.14e6), (3.38, 0.00768, 2.62e6))


def features(shape: LinearShape) -> tuple[list[int], list[int]]:
    """What the two ways do: normals, multiplications of each kind, and being called at all."""
    lanes, n, i, o = shape.streams, shape.rows, shape.inputs, shape.outputs
    back = 1 if shape.input_gradient else 0
    implicit = [
        lanes * n * (o + back * i),
        lanes * n * n * (1 + 3 * back) * i + lanes * n * n * (1 + 2 * back) * o,
        lanes * n**3 * (1 + back),
        lanes * n * i * o * (2 + back),
        1,
    ]
    materialised = [lanes * i * o, lanes * n * i * o * (2 + back), 1]
    return implicit, materialised
