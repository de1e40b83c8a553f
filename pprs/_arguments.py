"""What arguments must be; anything else is named with its value and range."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable


def positive(**values: float) -> None:
    """Raise `ValueError` unless every value, given by its name, is a finite number above 0."""
    for name, value in values.items():
        if not (_real(value) and value > 0):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


def non_negative(**values: float) -> None:
    """Raise `ValueError` unless every value is a finite number of at least 0."""
    for name, value in values.items():
        if not (_real(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")


def real(**values: float) -> None:
    """Raise `ValueError` unless every value, given by its name, is a finite number."""
    for name, value in values.items():
        if not _real(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}")


def counts(**values: int) -> None:
    """Raise `ValueError` unless every value is an integer of at least 1 that a float can hold."""
    for name, value in values.items():
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not (whole and value >= 1):
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        if not _real(value):
            raise ValueError(f"{name} exceeds the largest floating-point number")


def finite(what: str, value: float, **inputs: float) -> float:
    """A result, unless it left the range of floating-point numbers: then `ValueError`."""
    if not math.isfinite(value):
        given = ", ".join(f"{name}={number!r}" for name, number in inputs.items())
        raise ValueError(f"{what} exceeds the largest floating-point number for {given}")
    return value


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, if one is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]!r}?" if near else ""


def _real(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def model_and_data(model: str | None, data: str | None) -> None:
    """Raise `ValueError` unless both name a function, or neither is given.

    Example:
        >>> model_and_data("mine.py:model", "mine.py:data")
    """
    given = {"model": model, "data": data}
    for name, other in (("model", "data"), ("data", "model")):
        if given[name] == "":
            raise ValueError(f"{name} must be package.module:function or file.py:function, got ''")
        if given[name] is None and given[other] is not None:
            raise ValueError(
                f"{name} is missing beside --{other} {given[other]}: pass --{name} "
                f"package.module:function"
            )
