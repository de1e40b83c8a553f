"""Smoothed gradients of a closure that is recorded once, and then run without its Python."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from torch import Tensor, nn

from pprs.smoothing._checks import (
    Unused,
    check_batch,
    check_closure,
    check_finite,
    check_model,
    check_unused,
)
from pprs.smoothing._noise import Noise, checked_seed
from pprs.smoothing._perturbation import (
    DEFAULT_SAMPLES,
    NoiseKind,
    Perturbation,
    Scale,
    Sigma,
    default,
)
from pprs.smoothing._recordings import Recordings
from pprs.smoothing._size_check import outside
from pprs.smoothing._smooth import Closure, losses_at, smooth


def capture(
    closure: Closure,
    model: nn.Module,
    perturbation: Perturbation | Sigma | None = None,
    samples: int = default(DEFAULT_SAMPLES),
    *,
    sigma: Sigma | None = None,
    noise: NoiseKind = default("shared"),
    antithetic: bool = default(False),
    scale: Scale | None = default(None),
    seed: int | None = None,
    unused: Unused = "error",
    check: bool = True,
) -> Captured:
    r"""Take the gradients of `smooth` with a fraction of its Python: recorded once, then run again.

    The first call with each combination of shapes runs the closure as `smooth` does, with all
    its checks, and records it: on a CPU as a straight line of torch's operations, on a CUDA device
    as a CUDA graph. The others run the recording, with fresh noise. The noise, the loss and the
    gradient are those of `smooth(..., seed=seed, step=...)`.

    As in a CUDA graph, Python in the closure does not run again: numbers, branches of `if`,
    prints and hooks of modules stay what they were when it was recorded. Give whatever changes
    as tensors of the batch. Numbers and tensors that the closure refers to by name are looked at,
    and a change is recorded anew; and in the calls 1, 2, 4, 8, ... the closure runs besides, and
    must give the same gradient.

    Args:
        closure: computes the loss from the tensors of a batch; it must reach the parameters through
            `model`.
        model: whose trainable parameters are perturbed.
        perturbation: as for `smooth`, like the next five.
        samples: number K of perturbations.
        sigma: standard deviation of the perturbations.
        noise: `"shared"` by the batch, or for each `"example"`.
        antithetic: draw perturbations in pairs X, -X.
        scale: `"filter"` multiplies sigma by the norm of each filter.
        seed: makes the sequence of calls repeatable; `None` draws one.
        unused: whether the closure may leave parameters unused, see `smooth`.
        check: warn if sigma is too large or too small for the loss, see `smooth`.

    Returns:
        What is called with each batch: it adds the gradient to `.grad`, and returns the loss.

    Raises:
        ValueError: for values out of range, or a model without trainable parameters.
        TypeError: for a closure that is no function.

    Example:
        >>> import torch, pprs
        >>> model = torch.nn.Linear(3, 1)
        >>> gradient = pprs.capture(lambda x: model(x).abs().mean(), model, sigma=0.1, samples=4)
        >>> for x in torch.ones(2, 5, 3):
        ...     model.zero_grad()
        ...     loss = gradient(x)
        >>> model.weight.grad.shape
        torch.Size([1, 3])
    """
    if not callable(closure):
        check_closure(closure, None)
    check_unused(unused)
    perturbation = Perturbation.or_default(perturbation, sigma, samples, noise, antithetic, scale)
    perturbation.sigmas(check_model(model), 0)
    return Captured(closure, model, perturbation, checked_seed(seed), unused, check)


class Captured(Recordings):
    """Takes the smoothed gradients of a closure; `capture` makes it.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 1)
        >>> gradient = capture(lambda x: model(x).abs().mean(), model, sigma=0.1, samples=4)
        >>> gradient(torch.ones(5, 3)).dim()
        0

    Attributes:
        uncaptured: why the closure runs as in `smooth` from now on, if it does.
    """

    def __init__(
        self,
        closure: Closure,
        model: nn.Module,
        perturbation: Perturbation,
        seed: int,
        unused: Unused,
        check: bool,
    ) -> None:
        super().__init__(closure, model, perturbation, exact=False)
        self.seed = seed
        self.step = 0
        """The number of the next call, which keys its noise together with the seed."""
        self._unused, self._checks = unused, check

    def __call__(self, *batch: Tensor) -> Tensor:
        """Add the smoothed gradient at a batch to the parameters' `.grad`.

        Args:
            batch: the tensors that the closure is called with.

        Returns:
            The mean loss of the K perturbations, a scalar without graph.

        Raises:
            RuntimeError: if the recording gives another gradient than the closure itself; and what
                `smooth` raises. Gradients are then what they were.
        """
        check_batch(batch or None, self._perturbation.noise)
        loss = self._take(batch)
        self.step += 1
        return loss

    def _noise(self) -> Noise:
        return Noise(self.seed, self.step)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return check_model(self._model)

    def _plain(self, batch: tuple[Tensor, ...]) -> Tensor:
        loss = smooth(
            self._closure,
            self._model,
            self._perturbation,
            batch=batch or None,
            seed=self.seed,
            step=self.step,
            unused=self._unused,
            check=self._checks,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _losses(
        self, parameters: Mapping[str, nn.Parameter], noise: Noise, batch: tuple[Tensor, ...]
    ) -> Tensor:
        sigmas = self._perturbation.sigmas(parameters, self.step)
        given = sigmas, noise, batch or None, self._model, self._unused
        return losses_at(self._closure, parameters, self._perturbation, *given)

    def _check(self, losses: Tensor) -> None:
        check_finite(losses, self._perturbation)

    def _give_up(self, why: str) -> None:
        super()._give_up(why)
        warnings.warn(
            f"the closure runs as in pprs.smooth from now on, which is slower: {why}",
            stacklevel=outside(),
        )
