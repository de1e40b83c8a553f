"""All methods of the study, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pprs.smoothing import Perturbation
from pprs_experiments.study.methods.gradients import (
    Gradient,
    LowPass,
    Minibatch,
    Plain,
    Progress,
    Sharpened,
    Smoothed,
)
from pprs_experiments.study.methods.method import (
    Choice,
    Hyperparameters,
    LogUniform,
    Method,
    Range,
    Stepper,
)
from pprs_experiments.study.methods.searched import SearchedStepper
from pprs_experiments.study.methods.updates import UPDATES, Delayed, DualAveraging
from pprs_experiments.study.problem import Problem

Estimating = Callable[[Problem, Hyperparameters, int], Gradient]

# The middles of these ranges are what a search tries first.
LR = LogUniform(0.003, 3.0)
MOMENTUM_LR = LogUniform(3e-4, 0.3)  # momentum of 0.9 makes ten times the way
ADAM_LR = LogUniform(3e-4, 0.1)
MOMENTUM = Choice((0.0, 0.9, 0.99))
SIGMA = LogUniform(1e-3, 0.1)
SAMPLES = Choice((2, 4, 8, 16))
DRAWS = (1, 4, 16, 64, 128)
BATCH = Choice((1 / 2, 1 / 4, 1 / 8))


def _linear(progress: float) -> float:
    return 1 - progress


def _plain(problem: Problem, h: Hyperparameters, seed: int) -> Gradient:
    return Plain(problem, seed)


def _minibatch(problem: Problem, h: Hyperparameters, seed: int) -> Gradient:
    return Minibatch(problem, seed, h["batch"])


def _sharpened(problem: Problem, h: Hyperparameters, seed: int) -> Gradient:
    return Sharpened(problem, seed, h["rho"])


def _low_pass(problem: Problem, h: Hyperparameters, seed: int) -> Gradient:
    return LowPass(problem, seed, h["sigma"], h["parts"])


def _method(
    name: str,
    label: str,
    estimating: Estimating,
    update: str,
    space: Mapping[str, Range],
    *,
    divides: bool = False,
    **fixed: Any,
) -> Method:
    """An update, by its name and with options that are not searched, of estimated gradients."""

    def build(problem: Problem, h: Hyperparameters, seed: int) -> Stepper:
        gradient = estimating(problem, h, seed)
        parameters = list(gradient.parameters.values())
        return Stepper(gradient, UPDATES[update].make(parameters, h["lr"], {**fixed, **h}))

    return Method(name, label, space, build, divides)


def _smoothed(
    name: str,
    label: str,
    update: str = "agd",
    *,
    fixed: Hyperparameters | None = None,
    schedule: Progress = lambda _: 1.0,
    **parts: Any,
) -> Method:
    """Smoothing before an update.

    Args:
        name: of the method.
        label: of the method.
        update: its name.
        fixed: hyperparameters that are not searched.
        schedule: what sigma is multiplied by.
        parts: how else parameters are perturbed, fields of a Perturbation.
    """
    held = dict(fixed or {})

    def estimating(problem: Problem, h: Hyperparameters, seed: int) -> Gradient:
        h = held | dict(h)
        return Smoothed(problem, seed, Perturbation(h["sigma"], h["samples"], **parts), schedule)

    plain = held.get("momentum") == 0
    lr = ADAM_LR if update == "adam" else LR if plain else MOMENTUM_LR
    space: dict[str, Range] = {"lr": lr}
    if update == "agd":
        space["momentum"] = Choice(("nesterov", 0.9))
    space |= {"sigma": SIGMA, "samples": SAMPLES}
    searched = {name: each for name, each in space.items() if name not in held}
    divides = parts.get("noise") == "example"
    return _method(name, label, estimating, update, searched, divides=divides, **held)


def _randomized_smoothing(problem: Problem, h: Hyperparameters, seed: int) -> Stepper:
    gradient = Smoothed(problem, seed, Perturbation(1.0, h["samples"]), lambda _: update.sigma)
    update = DualAveraging(gradient.parameters.values(), h["lipschitz"], h["radius"], h["samples"])
    return Stepper(gradient, update)


def _pipedream(problem: Problem, h: Hyperparameters, seed: int) -> Stepper:
    if problem.adversary:
        raise ValueError("pipedream has no place for an adversary, which would drain the pipeline")
    gradient = Minibatch(problem, seed, h.get("batch", 1.0))
    update = Delayed(gradient.parameters.values(), h["lr"], problem.cost.depth - 1)
    return Stepper(gradient, update, problem.cost.streamed(gradient.rows))


_RIVALS = (
    _method("gd", "GD", _plain, "agd", {"lr": LR}, momentum=0),
    _method("subgradient", "subgradient", _plain, "subgradient", {"lr": LogUniform(0.01, 10.0)}),
    _method(
        "agd",
        "AGD",
        _plain,
        "agd",
        {"lr": MOMENTUM_LR, "momentum": Choice((0.5, 0.9, 0.99))},
    ),
    _method("nesterov", "AGD, λ_t", _plain, "agd", {"lr": MOMENTUM_LR}, momentum="nesterov"),
    _method(
        "sgd",
        "SGD, GPipe",
        _minibatch,
        "sgd",
        {"lr": MOMENTUM_LR, "momentum": MOMENTUM, "batch": BATCH},
        divides=True,
    ),
    _method("adam", "Adam", _plain, "adam", {"lr": ADAM_LR}),
    _method(
        "sam",
        "SAM",
        _sharpened,
        "sgd",
        {"lr": MOMENTUM_LR, "momentum": MOMENTUM, "rho": LogUniform(0.01, 1.0)},
    ),
    _method(
        "lpf-sgd",
        "LPF-SGD",
        _low_pass,
        "sgd",
        {"lr": MOMENTUM_LR, "momentum": MOMENTUM, "sigma": SIGMA, "parts": Choice((2, 4, 8))},
        divides=True,
    ),
    _method(
        "schedule-free",
        "schedule-free SGD",
        _plain,
        "schedule-free",
        {"lr": LR, "momentum": Choice((0.9, 0.95, 0.98))},
    ),
    Method(
        "randomized-smoothing",
        "Duchi et al.",
        {
            "lipschitz": LogUniform(0.01, 3.0),
            "radius": LogUniform(0.1, 3.0),
            "samples": SAMPLES,
        },
        _randomized_smoothing,
    ),
    Method("pipedream", "PipeDream", {"lr": LR}, _pipedream),
    Method(
        "pipedream-minibatch",
        "PipeDream, minibatches",
        {"lr": LR, "batch": BATCH},
        _pipedream,
        divides=True,
    ),
)

# Each with one draw per step too, to see what averaging adds.
_SMOOTHED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "": ("", {}),
    "-annealed": (", annealed", {"schedule": _linear}),
    "-filter": (", filter-scaled", {"scale": "filter"}),
    "-adam": (", filter-scaled, then Adam", {"scale": "filter", "update": "adam"}),
}

# What each part does: the number of draws, and the momentum.
_HELD: Mapping[str, tuple[str, Hyperparameters]] = {
    **{f"k-{samples}": (f"K = {samples}", {"samples": samples}) for samples in DRAWS},
    "no-momentum": ("PPRS without momentum", {"momentum": 0.0}),
}
_PARTS = (
    *(_smoothed(name, label, fixed=held) for name, (label, held) in _HELD.items()),
    *(
        _smoothed(f"{name}-filter", f"{label}, filter-scaled", fixed=held, scale="filter")
        for name, (label, held) in _HELD.items()
    ),
)

# Candidates for a rule that needs no tuning: only the step size is searched.
_DEFAULTS = tuple(
    _smoothed(
        f"default{end}-{sigma}",
        f"σ = {sigma} of a filter's norm, K = 8{words}",
        update,
        fixed={"sigma": sigma, "samples": 8, "momentum": 0.9},
        scale="filter",
    )
    for end, words, update in (("", "", "agd"), ("-adam", ", then Adam", "adam"))
    for sigma in (0.01, 0.02)
)


def _with(name: str, label: str, base: str, space: Mapping[str, Range], **held: Any) -> Method:
    """Another method with other ranges, some of its hyperparameters held."""

    def build(problem: Problem, h: Hyperparameters, seed: int) -> Stepper:
        return METHODS[base].build(problem, {**held, **h}, seed)

    return Method(name, label, space, build)


# Adam at each of five step sizes, of which the best in hindsight is a rival.
HINDSIGHT = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
_AT = tuple(
    _with(f"adam-at-{lr:g}", f"Adam, step size {lr:g}", "adam", {}, lr=lr) for lr in HINDSIGHT
)

# Before Adam with one of three step sizes: how averaging does by depth.
GRID = {"lr": Choice((0.0005, 0.002, 0.008))}
_GRIDS = (
    _with("grid-none", "no noise", "adam", GRID),
    *(
        _with(f"grid-{end}-{sigma}", f"{label}, σ = {sigma}", base, GRID, sigma=sigma, **held)
        for end, label, base, held in (
            ("one", "one draw", "one-draw-adam", {}),
            ("mean", "8 draws", "pprs-adam", {"samples": 8}),
        )
        for sigma in (0.003, 0.01)
    ),
)

_SEARCHED = Method(
    "searched-adam",
    "searched step, then Adam",
    {},
    lambda problem, h, seed: SearchedStepper(problem, seed),
)

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        *_RIVALS,
        *(
            _smoothed(f"one-draw{end}", f"one draw{words}", fixed={"samples": 1}, **settings)
            for end, (words, settings) in _SMOOTHED.items()
        ),
        *(
            _smoothed(f"pprs{end}", f"PPRS{words}", **settings)
            for end, (words, settings) in _SMOOTHED.items()
        ),
        _smoothed("pprs-example", "PPRS, noise per example", noise="example"),
        _smoothed("pprs-antithetic", "PPRS, antithetic", antithetic=True),
        *_PARTS,
        *_DEFAULTS,
        _SEARCHED,
        *_AT,
        *_GRIDS,
    )
}
"""The methods by name."""
