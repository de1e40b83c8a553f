"""Algorithm 1: smoothing, then Nesterov's step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pprs.optim._agd import AGD, Momentum, initialise
from pprs.smoothing import (
    DEFAULT_SAMPLES,
    Batch,
    Closure,
    Law,
    Noise,
    NoiseLaw,
    Scale,
    Sigma,
    check_finite,
    check_model,
    fresh_seed,
    losses_at,
    repeat,
)


class PPRS(AGD):
    r"""Algorithm 1: a Nesterov step from the mean of K gradients at Gaussian perturbations.

    $G_t = \frac1K \sum_k \nabla f(x_t + \sigma X_k)$ with $X_k \sim N(0, I_d)$, then the update of
    :class:`AGD`. Evaluate and save inside :meth:`~AGD.evaluating`.

    Args:
        model: whose trainable parameters are perturbed and updated.
        lr: step size $\eta \ge 0$.
        momentum: $\mu \ge 0$, or ``"nesterov"``, as for :class:`AGD`.
        sigma: standard deviation $\sigma \ge 0$ of the perturbations, in the parameters' units: a
            number; a function of the step, for annealing; or a dictionary from names of modules or
            parameters to these, and then each of its entries is a param group. The value stands in
            ``param_groups[i]["sigma"]`` and, unless it is a function, may be changed between steps.
        samples: number $K \ge 1$ of perturbations per step.
        noise: ``"shared"`` by the whole batch, as in the source, or ``"example"``, see
            :func:`pprs.smooth`.
        antithetic: draw perturbations in pairs X, -X.
        scale: ``"filter"`` multiplies sigma by the norm of each filter.
        seed: makes the run repeatable; ``None`` draws one from the operating system.
        foreach: as for :class:`AGD`.

    Raises:
        ValueError: for arguments out of range, or a model without trainable parameters.

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

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        momentum: Momentum = 0.9,
        *,
        sigma: Sigma,
        samples: int = DEFAULT_SAMPLES,
        noise: NoiseLaw = "shared",
        antithetic: bool = False,
        scale: Scale | None = None,
        seed: int | None = None,
        foreach: bool = True,
    ) -> None:
        law = Law(sigma, samples, noise, antithetic, scale)
        parameters = check_model(model)
        groups = law.groups(parameters)
        defaults: dict[str, Any] = {"lr": lr, "momentum": momentum, "foreach": foreach}
        defaults |= {"noise": noise, "antithetic": antithetic, "scale": scale, "sigma": 0.0}
        defaults |= {"samples": samples, "seed": fresh_seed() if seed is None else seed}
        self.model = model
        self._vectorised = True
        # Functions stay out of the param groups, which state_dict() must be able to save.
        self._annealed = [group if callable(group) else None for _, group in groups]
        start = law.sigmas(parameters, 0)
        initialise(
            self,
            [
                {"params": [(name, parameters[name]) for name in names], "sigma": start[names[0]]}
                for names, _ in groups
            ],
            defaults,
        )

    @torch.no_grad()
    def step(self, closure: Closure | None = None, batch: Batch | None = None) -> Tensor:  # type: ignore[override]
        """Draw K perturbations, average the K gradients, and take one step.

        Args:
            closure: either returns the loss, ``lambda: F.cross_entropy(model(x), y)``, and then all
                perturbations run together under vmap; or is torch's usual closure, which clears
                the gradients, calls ``backward()`` and returns the loss, and then runs K times.
            batch: tensors ``(m, ...)`` that the closure is called with; needed with
                ``noise="example"``, where the closure gets one example at a time.

        Returns:
            The mean of the losses, a scalar without graph. ``.grad`` holds $G_t$.

        Raises:
            ValueError: without a closure, or if its loss is not a scalar tensor.
            RuntimeError: while evaluating, for a loss that is not finite, or BatchNorm in training
                mode. After any error parameters and gradients are what they were.
        """
        if closure is None:
            raise ValueError(
                "PPRS.step needs a closure, since it takes K gradients per step: "
                "optimizer.step(lambda: loss_function(model(x), y))"
            )
        loss: Tensor = self._step(lambda: self._gradient(closure, batch))
        return loss

    def _gradient(self, closure: Closure, batch: Batch | None) -> Tensor:
        """Leave the mean gradient in ``.grad``; return the mean loss."""
        parameters = check_model(self.model)
        law, sigmas = self._law(parameters)
        group = self.param_groups[0]
        noise = Noise(group["seed"], group["step"])
        kept = [parameter.grad for parameter in parameters.values()]
        try:
            for parameter in parameters.values():
                parameter.grad = None
            return self._losses(closure, parameters, law, sigmas, noise, batch).mean()
        except BaseException:
            for parameter, gradient in zip(parameters.values(), kept, strict=True):
                parameter.grad = gradient
            raise

    def _law(self, parameters: Mapping[str, nn.Parameter]) -> tuple[Law, dict[str, float]]:
        of_parameter: dict[int, float] = {}
        for group, annealed in zip(self.param_groups, self._annealed, strict=False):
            if annealed is not None:
                group["sigma"] = annealed(group["step"])
            of_parameter |= {id(parameter): group["sigma"] for parameter in group["params"]}
        first = self.param_groups[0]
        # What became trainable after the optimizer was built is perturbed like the first group.
        sigmas = {n: of_parameter.get(id(p), first["sigma"]) for n, p in parameters.items()}
        names = ("samples", "noise", "antithetic", "scale")
        return Law(sigmas, **{name: first[name] for name in names}), sigmas

    def _losses(
        self,
        closure: Closure,
        parameters: dict[str, nn.Parameter],
        law: Law,
        sigmas: dict[str, float],
        noise: Noise,
        batch: Batch | None,
    ) -> Tensor:
        refusal = None
        if self._vectorised:
            try:
                losses = losses_at(closure, parameters, law, sigmas, noise, batch)
            except Exception as error:
                # What vmap cannot run may still run K times; what is wrong fails there too.
                refusal = error
            else:
                check_finite(losses, self.param_groups[0]["sigma"])
                losses.mean().backward()  # type: ignore[no-untyped-call]
                return losses.detach()
        losses = repeat(closure, parameters, law, sigmas, noise, batch)
        if refusal is not None:
            self._vectorised = False
            _explain(refusal, law.samples)
        return losses


def _explain(error: Exception, samples: int) -> None:
    # A closure that calls backward() asks for this; any other would like to know.
    if "backward" not in str(error):
        warnings.warn(
            f"torch.func.vmap could not run the closure ({type(error).__name__}: {error}): PPRS "
            f"runs it {samples} times one by one from now on, which is slower",
            stacklevel=2,
        )
