"""What is averaged: how large perturbations are, how many, shared by what, in which pairs."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, TypeVar, cast

from torch import Tensor

from pprs.smoothing._noise import Noise
from pprs.smoothing._sharing import Samples
from pprs.smoothing._target import Target

PerStep: TypeAlias = float | Callable[[int], float]
"""A number, or a function of the step, such as `lambda step: 0.1 / (1 + step)`."""
Sigma: TypeAlias = PerStep | Mapping[str, PerStep]
"""One for all parameters, or by name: `{"encoder": 0.003, "head": 0.01}`."""
NoiseKind: TypeAlias = Literal["shared", "example"]
"""Whether a batch shares a perturbation, or each example has its own."""
Scale: TypeAlias = Literal["filter"]
"""Of what sigma is a multiple: the norm of each filter."""

DEFAULT_SIGMA = 0.01
"""In units of the norm of each filter: a place to start from, see docs/study.md."""
DEFAULT_SAMPLES = 8
"""As many as there are with `DEFAULT_SIGMA`."""


T = TypeVar("T")


def default(value: T) -> T:
    """The default of an argument, which `Perturbation.of` tells from what callers pass."""
    return cast(T, _Default(value))


def is_default(value: object) -> bool:
    """Whether an argument was not given."""
    return isinstance(value, _Default)


class _Default:
    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:  # in help() and signatures
        return repr(self.value)


@dataclass(frozen=True)
class Perturbation:
    r"""What is averaged: the loss at $\theta + \sigma X_k$, for K Gaussian perturbations $X_k$.

    Args:
        sigma: standard deviation, at least 0: a number; a function of the step; or one of these for
            each group of parameters, by the name of the module or parameter (the longest that fits
            holds, `""` fits all). It is in the parameters' own units; see `filter`.
        samples: number K of perturbations.
        noise: `"shared"`: an X for each of the K perturbations, shared by the whole batch.
            `"example"`: an X for each perturbation and example; the same smoothed function only
            where the loss is a mean over examples.
        antithetic: perturbations come in pairs X, -X; K must be even.
        scale: `None`: sigma is in the parameters' own units. `"filter"`: in units of the norm
            of each filter (row of the first dimension; all of a vector or scalar).

    Raises:
        ValueError: for values out of range.

    Example:
        >>> import pprs
        >>> print(pprs.Perturbation(0.03, samples=16))
        16 perturbations, sigma 0.03
        >>> print(pprs.Perturbation.filter(0.01))
        8 perturbations, 0.01 of each filter's norm
    """

    sigma: Sigma
    samples: int = DEFAULT_SAMPLES
    noise: NoiseKind = "shared"
    antithetic: bool = False
    scale: Scale | None = None

    def __post_init__(self) -> None:
        settings = self.sigma.values() if isinstance(self.sigma, Mapping) else [self.sigma]
        for setting in settings:
            if not callable(setting):
                _checked_sigma(setting)
        samples = self.samples
        if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
            raise ValueError(
                f"samples is the number of perturbations averaged per step: it must be an integer "
                f"of at least 1, got {samples!r}"
            )
        if not isinstance(self.antithetic, bool):
            raise ValueError(f"antithetic must be True or False, got {self.antithetic!r}")
        if self.antithetic and samples % 2:
            raise ValueError(f"antithetic perturbations come in pairs: samples={samples} is odd")
        for name, values in (("noise", ("shared", "example")), ("scale", (None, "filter"))):
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {values}, got {getattr(self, name)!r}")

    @classmethod
    def filter(
        cls,
        sigma: Sigma,
        samples: int = DEFAULT_SAMPLES,
        noise: NoiseKind = "shared",
        antithetic: bool = False,
    ) -> Perturbation:
        """With sigma in units of the norm of each filter: `Perturbation.filter(0.01)`."""
        return cls(sigma, samples, noise, antithetic, "filter")

    @classmethod
    def of(cls, given: Perturbation | Sigma | None, *parts: Any) -> Perturbation:
        """What a caller has given, whole or part by part.

        Args:
            given: the whole; or sigma; or nothing.
            parts: the fields in their order, sigma or `None` first; `default` values are
                those that the caller did not give.

        Raises:
            ValueError: for what was given twice, or is out of range.
        """
        values = dict(zip((field.name for field in fields(cls)), parts, strict=True))
        passed = {name: v for name, v in values.items() if not isinstance(v, _Default)}
        if values["sigma"] is None:
            del passed["sigma"]
        whole = isinstance(given, Perturbation)
        twice = passed if whole else {name: v for name, v in passed.items() if name == "sigma"}
        if given is not None and twice:
            raise ValueError(
                f"perturbation={given!r} and, besides, {_listed(twice)}: give one or the other"
            )
        if isinstance(given, Perturbation):
            return given
        values = {name: v.value if isinstance(v, _Default) else v for name, v in values.items()}
        return cls(**values if given is None else values | {"sigma": given})

    @classmethod
    def or_default(cls, given: Perturbation | Sigma | None, *parts: Any) -> Perturbation:
        """What a caller has given, as for `of`; without a sigma that of `DEFAULT_SIGMA`.

        Raises:
            ValueError: as for `of`; or if sigma is not given, and `scale` would make another of it.
        """
        sigma, *others, scale = parts
        if given is not None or sigma is not None:
            return cls.of(given, *parts)
        if scale is None:
            raise ValueError(
                f"scale=None needs a sigma, in the parameters' own units: without one it is "
                f"{DEFAULT_SIGMA} of each filter's norm"
            )
        return cls.of(None, DEFAULT_SIGMA, *others, "filter" if is_default(scale) else scale)

    def __repr__(self) -> str:
        """As it is written, in one of the two ways that say what sigma is relative to."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scale"}
        usual = {f.name: f.default for f in fields(self)} | {"samples": None}
        shown = {name: value for name, value in said.items() if value != usual[name]}
        return f"Perturbation{'.filter' if self.scale else ''}({_listed(shown)})"

    def __str__(self) -> str:
        several = f"{self.samples} perturbations" if self.samples > 1 else "1 perturbation"
        pairs = " in pairs" * self.antithetic
        return f"{several}{pairs}{' of each example' * (self.noise == 'example')}, {self.size}"

    @property
    def size(self) -> str:
        """Sigma with its unit: `"sigma 0.01"` or `"0.01 of each filter's norm"`."""
        settings = self.sigma.values() if isinstance(self.sigma, Mapping) else [self.sigma]
        values = ("a function of the step" if callable(s) else f"{s}" for s in settings)
        said = " or ".join(dict.fromkeys(values))
        return f"{said} of each filter's norm" if self.scale else f"sigma {said}"

    @property
    def pieces(self) -> int:
        """Into how many the samples can be divided: pairs stay together."""
        return self.samples // 2 if self.antithetic else self.samples

    def among(self, candidates: int) -> Perturbation:
        """The share of each of so many candidates of a step.

        Raises:
            ValueError: if the perturbations, or their pairs, cannot be divided among them.
        """
        if self.pieces % candidates:
            what = "pairs of perturbations" if self.antithetic else "perturbations"
            unit = candidates * self.samples // self.pieces
            raise ValueError(
                f"{candidates} candidates share the {what} of a step evenly, so samples must be a "
                f"multiple of {unit}: got {self.samples}"
            )
        return replace(self, samples=self.samples // candidates)

    def groups(self, names: Iterable[str]) -> list[tuple[list[str], PerStep]]:
        """The parameters of each group, and its sigma.

        Raises:
            ValueError: if a parameter belongs to no group, or none to a group.
        """
        settings = self.sigma if isinstance(self.sigma, Mapping) else {"": self.sigma}
        members: dict[str, list[str]] = {group: [] for group in settings}
        for name in names:
            members[_group(name, settings)].append(name)
        for group, names_of_group in members.items():
            if not names_of_group:
                raise ValueError(
                    f"sigma names {group!r}, but no trainable parameter is called or lies under it"
                )
        return [(members[group], setting) for group, setting in settings.items()]

    def sigmas(self, names: Iterable[str], step: int) -> dict[str, float]:
        """The sigma of each parameter at a step.

        Args:
            names: full names of all parameters of the model.
            step: number of the step, for annealed sigmas.

        Raises:
            ValueError: if a parameter has none, or a group no parameter.
        """
        values: dict[str, float] = {}
        for members, setting in self.groups(names):
            values |= dict.fromkeys(members, self.of_step(setting, step))
        return values

    def setting(self, name: str) -> PerStep:
        """The sigma of the parameter of this full name: a number or a function of the step.

        Raises:
            ValueError: if it has none.
        """
        settings = self.sigma if isinstance(self.sigma, Mapping) else {"": self.sigma}
        return settings[_group(name, settings)]

    @staticmethod
    def of_step(setting: PerStep, step: int) -> float:
        """The value of a sigma at a step, or `ValueError` if it is out of range."""
        return _checked_sigma(setting(step) if callable(setting) else setting)

    def samples_of(self, perturbations: int, batch: int) -> Samples:
        """The samples of X of a number of perturbations of a batch of this size."""
        examples = batch if self.noise == "example" else None
        return Samples(perturbations, self.antithetic, examples)

    def targets(
        self,
        parameters: Mapping[str, Tensor],
        sigmas: Mapping[str, float],
        noise: Noise,
        samples: Samples,
        reused: Collection[str] = (),
    ) -> list[Target]:
        """The parameters that are perturbed at all, as a pass has them.

        Args:
            parameters: by name.
            sigmas: by name.
            noise: of the pass.
            samples: of X.
            reused: the names of those that other passes use, too, at the same X.
        """
        filters = self.scale == "filter"
        return [
            Target(name, parameter, sigmas[name], filters, noise, samples, name in reused)
            for name, parameter in parameters.items()
            if sigmas[name] > 0
        ]


def _listed(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in fields.items())


def _group(name: str, groups: Mapping[str, PerStep]) -> str:
    fitting = [g for g in groups if g in {"", name} or name.startswith(f"{g}.")]
    if not fitting:
        raise ValueError(
            f"sigma has no value for parameter {name!r}: it names {', '.join(map(repr, groups))}; "
            f"add '' for all others"
        )
    return max(fitting, key=len)


def _checked_sigma(sigma: float) -> float:
    if isinstance(sigma, Perturbation):
        raise ValueError(f"sigma is a number, got {sigma!r}: pass it as perturbation=, not sigma=")
    number = isinstance(sigma, numbers.Real) and not isinstance(sigma, bool)
    if not (number and math.isfinite(sigma) and sigma >= 0):
        raise ValueError(
            f"sigma is the standard deviation of the perturbations: it must be a finite number of "
            f"at least 0, got {sigma!r}"
        )
    return float(sigma)
