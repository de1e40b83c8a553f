"""Algorithm 1: smoothing, then Nesterov's step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pprs.optim._agd import AGD, Momentum, initialise
from pprs.optim._candidates import NesterovCandidates
from pprs.optim._grad_scaler import refuse_scaled
from pprs.optim._search import FACTORS, SEARCHED_SAMPLES, Search
from pprs.optim._smoothed_gradient import Centre, Draws, SmoothedGradient
from pprs.smoothing import (
    DEFAULT_SAMPLES,
    Batch,
    Closure,
    Noise,
    NoiseKind,
    PerStep,
    Perturbation,
    Scale,
    Sigma,
    Unused,
    check_closure,
    check_model,
    check_unused,
    checked_seed,
    default,
    is_default,
    is_first,
    warn_of_zeros,
)

# Of the whole optimizer, though every param group shows them.
_COMMON = ("samples", "noise", "antithetic", "scale")


class PPRS(AGD):
    r"""Algorithm 1: a Nesterov step from the mean of K gradients at Gaussian perturbations.

    $G_t = \frac1K \sum_k \nabla f(x_t + \sigma X_k)$ with $X_k \sim N(0, I_d)$, then the update of
    `AGD`. Evaluate and save inside `evaluating`.

    Args:
        model: whose trainable parameters are perturbed and updated.
        lr: step size $\eta \ge 0$; or `"search"`: each step takes the best of three, whose
            candidates share the K perturbations, as a `SearchedStep` does.
        momentum: $\mu \ge 0$, or `"nesterov"`, as for `AGD`.
        perturbation: all that is said of $\sigma X_k$, instead of the next five; or sigma.
        sigma: standard deviation $\sigma \ge 0$ of the perturbations, in the parameters' units: a
            number; a function of the step, for annealing; or a dictionary from names of modules or
            parameters to these, and then each of its entries is a param group. The value stands in
            `param_groups[i]["sigma"]` and, unless it is a function, may be changed between steps.
        samples: number $K \ge 1$ of perturbations per step; where it is searched, 12 in pairs.
        noise: `"shared"` by the whole batch, as in the source, or `"example"`, see
            `pprs.smooth`.
        antithetic: draw perturbations in pairs X, -X.
        scale: `"filter"` multiplies sigma by the norm of each filter.
        seed: makes the run repeatable; `None` draws one from the operating system.
        foreach: as for `AGD`.
        unused: whether closures may leave parameters unused, see `pprs.smooth`.
        check: warn if sigma is too large or too small for the loss, see `pprs.smooth`.

    Raises:
        ValueError: for arguments out of range, or a model without trainable parameters.
        TypeError: for anything but a model.

    Example:
        >>> import torch, pprs
        >>> import torch.nn.functional as F
        >>> model = torch.nn.Linear(4, 3)
        >>> x, y = torch.randn(8, 4), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
        >>> optimizer = pprs.PPRS(model, lr=0.1, momentum=0.9, sigma=0.03, samples=16)
        >>> loss = optimizer.step(lambda: F.cross_entropy(model(x), y))
        >>> with optimizer.evaluating():
        ...     accuracy = (model(x).argmax(1) == y).float().mean()
    """

    # torch's scaler then leaves the step to us, which says why it cannot be.
    _step_supports_amp_scaling = True

    def __init__(
        self,
        model: nn.Module,
        lr: float | Literal["search"],
        momentum: Momentum = 0.9,
        *,
        perturbation: Perturbation | Sigma | None = None,
        sigma: Sigma | None = None,
        samples: int = default(DEFAULT_SAMPLES),
        noise: NoiseKind = default("shared"),
        antithetic: bool = default(False),
        scale: Scale | None = default(None),
        seed: int | None = None,
        foreach: bool = True,
        unused: Unused = "error",
        check: bool = True,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"PPRS takes the model itself, since it perturbs parameters by their names: "
                f"PPRS(model, lr=...), got {type(model).__name__} instead"
            )
        if lr == "search" and is_default(samples):
            samples = default(SEARCHED_SAMPLES)
            antithetic = default(True) if is_default(antithetic) else antithetic
        if perturbation is None and sigma is None:
            raise ValueError(
                "PPRS needs a sigma, since no single value did well in most of the study's tasks: "
                'sigma=0.01, scale="filter", 0.01 of each filter\'s norm, is a place to start from'
            )
        perturbation = Perturbation.of(perturbation, sigma, samples, noise, antithetic, scale)
        parameters = check_model(model)
        check_unused(unused)
        groups = perturbation.groups(parameters)
        defaults: dict[str, Any] = {"lr": lr, "momentum": momentum, "foreach": foreach}
        if lr == "search":
            perturbation.among(len(FACTORS))
            defaults |= {"lr": 1e-3, "searched_lr": 1e-3}  # where all parameters are zero
        defaults |= {name: getattr(perturbation, name) for name in _COMMON}
        defaults |= {"sigma": 0.0, "seed": checked_seed(seed)}
        self._given = perturbation
        self._smoothed = SmoothedGradient(model, unused, check)
        # Functions stay out of the param groups, which state_dict() must be able to save.
        self._annealed: list[Callable[[int], float] | None] = []
        self._warned: set[str] = set()
        warn_of_zeros(model, parameters, perturbation.sigmas(parameters, 0), perturbation.scale)
        initialise(
            self,
            [
                {"params": [(name, parameters[name]) for name in names], "sigma": setting}
                for names, setting in groups
            ],
            defaults,
        )

    @property
    def model(self) -> nn.Module:
        """Whose parameters are perturbed."""
        return self._smoothed.model

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters of the model, such as a layer that is trained from now on.

        Args:
            param_group: `"params"` and, where they differ from the constructor's, `"lr"`,
                `"momentum"` and `"sigma"` (a number or a function of the group's own steps).

        Raises:
            ValueError: for parameters that are not the model's, values out of range, or another
                number or kind of perturbations than the first group has.
        """
        if self._searched:
            if "lr" in param_group:
                raise ValueError("lr is searched for all groups: add this one without its lr")
            lr = self.param_groups[0]["lr"]
            param_group = {**param_group, "lr": lr, "searched_lr": lr}
        named = self._named(param_group["params"])
        setting = param_group.get("sigma")
        if setting is None:
            setting = self._setting([name for name, _ in named])
        group = {**param_group, "params": named, "sigma": Perturbation.of_step(setting, 0)}
        _check_common([{**self.defaults, **each} for each in (*self.param_groups, group)])
        super().add_param_group(group)
        self._annealed.append(setting if callable(setting) else None)

    def _named(self, params: Any) -> list[tuple[str, Tensor]]:
        """Parameters with their names in the model, which torch's groups may have or not."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        listed = [params] if isinstance(params, Tensor) else list(params)
        tensors = [p[1] if isinstance(p, tuple) else p for p in listed]
        for tensor in tensors:
            if id(tensor) not in names:
                shape = tuple(getattr(tensor, "shape", ()))
                raise ValueError(
                    f"a parameter of shape {shape} is not one of the model's, so PPRS would not "
                    f"perturb it: make it part of the model, or give it to another optimizer"
                )
        return [(names[id(tensor)], tensor) for tensor in tensors]

    def _setting(self, names: Sequence[str]) -> PerStep:
        """What the constructor was given as sigma for parameters of these names."""
        settings = [self._given.setting(name) for name in names]
        if any(setting != settings[0] for setting in settings):
            raise ValueError(f"sigma differs among {', '.join(names)}: add a group for each")
        return settings[0] if settings else 0.0

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, from a `state_dict()` of a `PPRS`.

        Raises:
            ValueError: if it is another optimizer's.
        """
        for group in state_dict["param_groups"]:
            missing = {*_COMMON, "sigma", "seed"} - group.keys()
            if missing:
                raise ValueError(
                    f"the state is not that of a PPRS optimizer, since its param groups have no "
                    f"{', '.join(sorted(missing))}: load it into one of the class that saved it"
                )
        super().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        # torch's keeps three attributes; a copy needs ours as well.
        names = ("_given", "_smoothed", "_annealed", "_warned")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in names}}

    @torch.no_grad()
    def step(self, closure: Closure | None = None, batch: Batch | None = None) -> Tensor:  # type: ignore[override]
        """Draw K perturbations, average the K gradients, and take one step.

        Args:
            closure: either returns the loss, `lambda: F.cross_entropy(model(x), y)`, and then all
                perturbations run together under vmap; or is torch's usual closure, which clears
                the gradients, calls `backward()` and returns the loss, and then runs K times.
            batch: tensors `(m, ...)` that the closure is called with; needed with
                `noise="example"`, where the closure gets one example at a time.

        Returns:
            The mean of the losses, a scalar without graph. `.grad` holds $G_t$.

        Raises:
            ValueError: without a closure, or if its loss is not a scalar tensor.
            RuntimeError: while evaluating, for a loss that is not finite or was scaled by a
                `GradScaler`, or BatchNorm in training mode. After any error parameters and
                gradients are what they were.
        """
        refuse_scaled(self)
        if closure is None:
            raise ValueError(
                "PPRS.step needs a closure, since it takes K gradients per step: "
                "optimizer.step(lambda: loss_function(model(x), y))"
            )
        if is_first(self.model, closure):
            check_closure(closure, batch)
        if self._searched:
            return self._search(closure, batch)
        loss: Tensor = self._step(lambda: self._gradient(closure, batch)[0])
        return loss

    @property
    def _searched(self) -> bool:
        """Whether the step size is searched."""
        return any("searched_lr" in group for group in self.param_groups)

    def _search(self, closure: Closure, batch: Batch | None) -> Tensor:
        candidates = NesterovCandidates(self)
        candidates.parameters = check_model(self.model)
        search = Search(candidates, FACTORS)
        return search.step(lambda centres: self._gradient(closure, batch, centres))

    def _gradient(
        self, closure: Closure, batch: Batch | None, centres: Sequence[Centre] | None = None
    ) -> Tensor:
        """Leave the mean gradient in `.grad`, at the best centre; return the mean losses."""
        parameters = check_model(self.model)
        perturbation, sigmas = self._perturbation(parameters)
        group = self.param_groups[0]
        draws = Draws(perturbation, sigmas, Noise(group["seed"], group["step"]))
        # Also of what was frozen since: an old gradient would go on moving it.
        every = [p for group in self.param_groups for p in group["params"]]
        return self._smoothed.take(closure, batch, parameters, draws, centres, every)

    def _perturbation(
        self, parameters: Mapping[str, nn.Parameter]
    ) -> tuple[Perturbation, dict[str, float]]:
        _check_common(self.param_groups)
        of_parameter: dict[int, float] = {}
        for group, annealed in zip(self.param_groups, self._annealed, strict=True):
            if annealed is not None:
                group["sigma"] = annealed(group["step"])
            sigma = Perturbation.of_step(group["sigma"], group["step"])
            of_parameter |= {id(parameter): sigma for parameter in group["params"]}
        first = self.param_groups[0]
        sigmas = {n: of_parameter[id(p)] for n, p in parameters.items() if id(p) in of_parameter}
        for name in parameters.keys() - sigmas.keys():
            self._warn_apart(name)
            sigmas[name] = Perturbation.of_step(self._given.setting(name), first["step"])
        return Perturbation(sigmas, **{name: first[name] for name in _COMMON}), sigmas

    def _warn_apart(self, name: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"parameter {name!r} became trainable after the optimizer was built: it is "
                f"perturbed, but not updated, until add_param_group adds it",
                stacklevel=6,
            )


def _check_common(groups: Sequence[Mapping[str, Any]]) -> None:
    for name in (*_COMMON, "seed"):
        values = [group[name] for group in groups]
        if any(value != values[0] for value in values):
            raise ValueError(
                f"{name} belongs to the whole optimizer, but its param groups have "
                f"{', '.join(map(repr, values))}: give all of them the same"
            )
