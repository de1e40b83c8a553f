"""What the layers of a model take: seconds and bytes over rows; written to a file and read."""

from __future__ import annotations

import json
import math
import types
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from pprs._arguments import counts, non_negative
from pprs.io.files import write_json

Floats: TypeAlias = npt.NDArray[np.float64]
_FORMAT = "pprs profile 1"


@dataclass(frozen=True)
class Curve:
    """Seconds or bytes over rows: examples times the perturbations that run together.

    Straight between the points and beyond them: which way a layer is computed may depend on the
    rows, so that no one line `a + b * rows` fits all.

    Args:
        rows: increasing, at least 0, two or more.
        values: of each, at least 0.
    """

    rows: tuple[float, ...] = (0.0, 1.0)
    values: tuple[float, ...] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.values) or len(self.rows) < 2:
            raise ValueError("rows and values must be equally many, two or more")
        for row, value in zip(self.rows, self.values, strict=True):
            non_negative(rows=row, values=value)
        if any(after <= before for before, after in pairwise(self.rows)):
            raise ValueError(f"rows must increase, got {self.rows}")

    @classmethod
    def line(cls, fixed: float = 0.0, per_row: float = 0.0) -> Curve:
        """`fixed + per_row * rows`."""
        return cls((0.0, 1.0), (fixed, fixed + per_row))

    def at(self, rows: float) -> float:
        """The value for this many rows, at least 0."""
        place = min(max(bisect_right(self.rows, rows), 1), len(self.rows) - 1)
        (a, b), (low, high) = self.rows[place - 1 : place + 1], self.values[place - 1 : place + 1]
        if rows > b:  # more rows never take less, whatever two measurements say
            low = min(low, high)
        return max(0.0, low + (high - low) * (rows - a) / (b - a))


@dataclass(frozen=True)
class Layer:
    """What a piece of a model takes in one pass.

    Args:
        name: of the module with which it begins.
        forward: seconds.
        backward: seconds.
        activations: bytes that are kept for the backward, parameters aside.
        output: bytes sent to the next piece; as many come back.
        parameters: bytes.
    """

    name: str
    forward: Curve = Curve()
    backward: Curve = Curve()
    activations: Curve = Curve()
    output: Curve = Curve()
    parameters: int = 0


@dataclass(frozen=True)
class Times:
    """What was measured of one kind of pass.

    Args:
        processes: how many were at work on the machine, this one among them.
        smoothed: at perturbed parameters, under vmap; or plain.
        layers: in order.
        around: what each stage takes besides its layers, in each pass.
        loss: what the last stage takes besides.
        step: seconds of a step besides its passes.
        first: seconds by which the first backward of all layers is shorter than later ones, as it
            has no gradient to add to.
        several: seconds in which the gradients of all layers are divided by the number of
            microbatches, where there are several.
        beside: seconds that each pass takes more while all others are at work, for messages.
        shared: the same on a process with several stages.
        weight_share: part of a backward that a schedule can split off, 0 to 1.
        alone: how much of its time a pass takes while the other processes do nothing, up to 1.
    """

    processes: int
    smoothed: bool
    layers: tuple[Layer, ...]
    around: Layer = Layer("around")
    loss: Layer = Layer("loss")
    step: float = 0.0
    first: float = 0.0
    several: float = 0.0
    beside: float = 0.0
    shared: float = 0.0
    weight_share: float = 0.0
    alone: float = 1.0

    def __post_init__(self) -> None:
        counts(processes=self.processes)
        for name in ("step", "first", "several", "beside", "shared"):
            non_negative(**{name: getattr(self, name)})
        if not self.layers:
            raise ValueError("layers must name at least one layer, got none")
        if not 0 <= self.weight_share <= 1:
            raise ValueError(f"weight_share must be between 0 and 1, got {self.weight_share!r}")
        if not 0 < self.alone <= 1:
            raise ValueError(f"alone must be above 0, up to 1, got {self.alone!r}")

    def sums(self, what: str, rows: float) -> Floats:
        """The sum over the layers before each, and over all: `forward`, say, for these rows."""
        if (what, rows) not in self._sums:
            values = [getattr(layer, what) for layer in self.layers]
            if what != "parameters":
                values = [curve.at(rows) for curve in values]
            self._sums[what, rows] = np.cumsum([0.0, *values])
        return self._sums[what, rows]

    @cached_property
    def steady(self) -> Times:
        """The same, as if passes always took as long as with all processes at work."""
        return replace(self, alone=1.0, beside=0.0, shared=0.0)

    @cached_property
    def _sums(self) -> dict[tuple[str, float], Floats]:
        return {}


@dataclass(frozen=True)
class Link:
    """What a message between two devices takes.

    Args:
        latency: seconds, at least 0.
        bandwidth: bytes a second, above 0.
        overlaps: whether it is under way while its receiver works; or only once that waits for
            it, as on GPUs with one stage on each process, where torch's engine asks for a message
            when it needs it.
    """

    latency: float = 0.0
    bandwidth: float = math.inf
    overlaps: bool = True

    def __post_init__(self) -> None:
        non_negative(latency=self.latency)
        if not self.bandwidth > 0:
            raise ValueError(f"bandwidth must be above 0 bytes a second, got {self.bandwidth!r}")

    def seconds(self, size: float) -> float:
        """How long a message of so many bytes is under way."""
        return self.latency + size / self.bandwidth


@dataclass(frozen=True)
class Profile:
    """A model as a planner sees it.

    Args:
        model: its name.
        batch: examples m of a step.
        cores: of the machine that it was measured on.
        times: of the kinds of passes that were measured.
        link: between two processes of that machine.
        ties: layers that share parameters, by their indices.
    """

    model: str
    batch: int
    cores: int
    times: tuple[Times, ...]
    link: Link = Link()
    ties: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        counts(batch=self.batch, cores=self.cores)
        names = {tuple(layer.name for layer in times.layers) for times in self.times}
        if len(names) != 1:
            raise ValueError("times must all be of the same layers, and of one kind at least")
        known = range(len(self.times[0].layers))
        if any(i not in known for group in self.ties for i in group):
            raise ValueError(f"ties must hold indices below {len(known)}, got {self.ties}")

    def of(self, *, smoothed: bool, processes: int) -> Times:
        """What was measured with so many processes at work, or the most below.

        Raises:
            ValueError: if this kind of pass was not measured.
        """
        kinds = [times for times in self.times if times.smoothed == smoothed]
        fit = [times for times in kinds if times.processes <= processes] or kinds
        if not fit:
            kind = "smoothed" if smoothed else "plain"
            raise ValueError(f"the profile of {self.model} has no {kind} passes: measure it anew")
        return max(fit, key=lambda times: times.processes)

    def repeated(self, times: int) -> Profile:
        """The same as if the model had its layers so many times in a row.

        Raises:
            ValueError: for a number below 1, or layers that share parameters.
        """
        counts(repeat=times)
        if times > 1 and self.ties:
            raise ValueError("layers that share parameters cannot be repeated: leave repeat out")
        more = tuple(
            replace(
                one,
                layers=tuple(
                    replace(layer, name=f"{layer.name}*{turn}" if turn else layer.name)
                    for turn in range(times)
                    for layer in one.layers
                ),
            )
            for one in self.times
        )
        return replace(self, times=more)

    def save(self, file: Path) -> None:
        """Write it as JSON.

        Raises:
            ValueError: if the file cannot be written.
        """
        write_json(file, {"format": _FORMAT, **asdict(self)})

    @classmethod
    def load(cls, file: Path) -> Profile:
        """Read what `save` has written.

        Raises:
            ValueError: with the reason, if the file cannot be read or is no such file.
        """
        try:
            written = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(written, dict) or written.pop("format", None) != _FORMAT:
                raise ValueError(f"it lacks the format {_FORMAT!r}")
            profile: Profile = _read(cls, written, "the file")
        except OSError as error:
            raise ValueError(f"cannot read the profile {file}: {error.strerror}") from None
        except RecursionError:
            raise ValueError(f"{file} is no profile: it is nested too deep") from None
        except ValueError as error:
            raise ValueError(f"{file} is no profile: {error}") from None
        return profile


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value of a type that profiles are made of, from what JSON holds."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        if not isinstance(value, Mapping) or sorted(value) != sorted(names):
            raise ValueError(f"{where} must be an object with {', '.join(names)}")
        found = {name: _read(hints[name], value[name], f"{name!r} of {where}") for name in names}
        try:
            made: Any = kind
            return made(**found)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list, got {value!r:.50}")
        inner = get_args(kind)[0]
        return tuple(_read(inner, part, f"{where}[{i}]") for i, part in enumerate(value))
    fits: type | types.UnionType = int | float if kind is float else kind
    if not isinstance(value, fits) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{where} must be {kind.__name__}, got {value!r:.50}")
    return kind(value)
