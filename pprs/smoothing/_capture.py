"""Smoothed gradients of a closure that is recorded once, and then run without its Python."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from pprs.smoothing._checks import (
    Refusal,
    Unused,
    check_batch,
    check_closure,
    check_finite,
    check_model,
    check_unused,
)
from pprs.smoothing._generators import Generators
from pprs.smoothing._hooks import StepGradients
from pprs.smoothing._noise import Noise, RecordedNoise, fresh_seed
from pprs.smoothing._perturbation import (
    DEFAULT_SAMPLES,
    DEFAULT_SIGMA,
    NoiseKind,
    Perturbation,
    Scale,
    Sigma,
    default,
)
from pprs.smoothing._replay import Replay, record
from pprs.smoothing._side_effects import SideEffects
from pprs.smoothing._size_check import generators_kept, outside
from pprs.smoothing._smooth import Closure, losses_at, smooth
from pprs.smoothing._surroundings import Watched, met
from pprs.smoothing.native.recording import Keys

Gradients: TypeAlias = list[Tensor | None]

_MOST = 16  # recordings that are kept
# Relative difference of gradients that the same kernels may give.
_CLOSE = {"cpu": 1e-4, "cuda": 0.01}


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
    if perturbation is None and sigma is None:
        sigma, scale = DEFAULT_SIGMA, "filter"
    perturbation = Perturbation.of(perturbation, sigma, samples, noise, antithetic, scale)
    perturbation.sigmas(check_model(model), 0)
    seed = fresh_seed() if seed is None else seed
    return Captured(closure, model, perturbation, seed, unused, check)


@dataclass
class _Recording:
    """What is run again, with which keys, for which parameters, and how often it was."""

    run: Replay
    keys: Keys
    parameters: Mapping[str, nn.Parameter]
    calls: int = 0

    def due(self) -> bool:
        """Count a call; whether it is the 1st, 2nd, 4th, 8th, ..."""
        self.calls += 1
        return self.calls & (self.calls - 1) == 0


class Captured:
    """Takes the smoothed gradients of a closure; `capture` makes it.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 1)
        >>> gradient = capture(lambda x: model(x).abs().mean(), model, sigma=0.1, samples=4)
        >>> gradient(torch.ones(5, 3)).dim()
        0
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
        self._closure, self._model = closure, model
        self._perturbation, self.seed = perturbation, seed
        self.step = 0
        """The number of the next call, which keys its noise together with the seed."""
        self.uncaptured: str | None = None
        """Why the closure runs as in `smooth` from now on, if it does."""
        self._unused, self._check = unused, check
        self._recordings: dict[Hashable, _Recording] = {}
        self._last: Mapping[str, Hashable] = {}
        self._unsettled = False  # whether the last pass that was to be recorded changed something

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
        around = {} if self.uncaptured else self._met(batch)
        recorded = self._recordings.get(tuple(around.values()))
        # Nothing that was checked when it was recorded has changed.
        parameters = check_model(self._model) if recorded is None else recorded.parameters
        gradients = StepGradients(parameters.values(), accumulate=True)
        with torch.enable_grad(), gradients.alone():
            if recorded is not None and not recorded.due():
                loss, found = self._replayed(recorded, batch)
            else:
                loss, found = self._compared(recorded, parameters, batch, around)
            for parameter, gradient in zip(parameters.values(), found, strict=True):
                parameter.grad = gradient
        gradients.close()
        self.step += 1
        return loss

    def _compared(
        self,
        recorded: _Recording | None,
        parameters: Mapping[str, nn.Parameter],
        batch: tuple[Tensor, ...],
        around: Mapping[str, Hashable],
    ) -> tuple[Tensor, Gradients]:
        """The loss and gradient of `smooth`; the recording, which is made if need be, has them."""
        before = Generators(parameters.values())
        watched = None
        if recorded is None and not self.uncaptured:
            watched = Watched(self._closure, self._model, batch, around)
        loss = self._plain(batch)
        never = watched.never(loss, list(parameters.values())) if watched else ""
        loss.backward()  # type: ignore[no-untyped-call]
        loss, found = loss.detach(), [p.grad for p in parameters.values()]
        after = Generators(parameters.values())
        if never:
            self._give_up(never)
        elif watched is not None and self._may_record(watched, self._met(batch)):
            with self._left_alone(parameters):
                recorded = self._record(parameters, batch)
        if recorded is not None and not after.drew_on_cuda(before):
            before.set()
            self._judge(recorded, self._differs(recorded, batch, loss, found))
        if recorded is not None and not self.uncaptured:
            self._recordings[tuple(around.values())] = recorded
        after.set()
        return loss, found

    def _plain(self, batch: tuple[Tensor, ...]) -> Tensor:
        return smooth(
            self._closure,
            self._model,
            self._perturbation,
            batch=batch or None,
            seed=self.seed,
            step=self.step,
            unused=self._unused,
            check=self._check,
        )

    def _replayed(
        self, recorded: _Recording, batch: tuple[Tensor, ...]
    ) -> tuple[Tensor, Gradients]:
        """The mean loss of all perturbations, and its gradient."""
        noise, keys = Noise(self.seed, self.step), recorded.keys
        keys.fill(noise.numbers(keys.names))
        results = recorded.run(batch)
        loss, losses, finite = (cast(Tensor, result) for result in results[:3])
        if not finite:
            check_finite(losses, self._perturbation)
        return loss, results[3:]

    def _differs(
        self, recorded: _Recording, batch: tuple[Tensor, ...], loss: Tensor, found: Gradients
    ) -> str:
        """What a recording does otherwise than the closure; empty if nothing."""
        try:
            return _difference(loss, found, *self._replayed(recorded, batch))
        except Exception as error:
            return f"no gradient ({type(error).__name__}: {str(error).partition('. ')[0]})"

    def _may_record(self, watched: Watched, now: Mapping[str, Hashable]) -> bool:
        """Whether nothing has changed in the pass, and few recordings are kept."""
        others = [name for name, value in now.items() if self._last.get(name, value) != value]
        changed = watched.changed(now)
        self._last, unsettled, self._unsettled = now, self._unsettled, bool(changed)
        if changed and unsettled:  # what is only set up in a first pass may stay
            self._give_up(f"it changes {changed}")
        elif len(self._recordings) == _MOST and not changed:
            met_again = f"it met other {' and other '.join(others)} again"
            self._give_up(f"{met_again}, and {_MOST} recordings are kept")
        return not changed and not self.uncaptured

    @contextmanager
    def _left_alone(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """After the block all is what it was, but for the gradients."""
        effects = SideEffects(self._model, 1, True, self._closure)
        try:
            with generators_kept(parameters.values()):
                yield
        finally:
            effects.restore(everything=True)

    def _record(
        self, parameters: Mapping[str, nn.Parameter], batch: tuple[Tensor, ...]
    ) -> _Recording | None:
        """Record the closure; `None` if that cannot be, which is said once."""
        device = next(iter(parameters.values())).device
        keys = Keys(list(parameters), device)
        sigmas = self._perturbation.sigmas(parameters, self.step)

        def gradient(*rows: Tensor) -> tuple[Tensor | None, ...]:
            noise, leaves = RecordedNoise(keys=keys), list(parameters.values())
            given = sigmas, noise, rows or None, self._model, self._unused
            losses = losses_at(self._closure, parameters, self._perturbation, *given)
            loss = losses.mean()
            found = torch.autograd.grad(loss, leaves, allow_unused=True)
            return loss.detach(), losses.detach(), losses.detach().isfinite().all(), *found

        try:
            return _Recording(record(gradient, batch, device), keys, parameters, 1)
        except Refusal:
            raise
        except Exception as error:
            first = str(error).partition(". ")[0]
            self._give_up(f"torch cannot record it ({type(error).__name__}: {first})")
            return None

    def _give_up(self, why: str) -> None:
        self.uncaptured = why
        self._recordings.clear()
        warnings.warn(
            f"the closure runs as in pprs.smooth from now on, which is slower: {why}",
            stacklevel=outside(),
        )

    def _met(self, batch: tuple[Tensor, ...]) -> dict[str, Hashable]:
        return met(self._closure, self._model, self._perturbation, self.step, batch)

    def _judge(self, recorded: _Recording, differs: str) -> None:
        """Record no more, or raise `RuntimeError`, if a recording differs from the closure."""
        if differs and recorded.calls == 1:  # nothing came of it yet
            self._give_up(f"its recording gives {differs}")
        elif differs:
            raise RuntimeError(
                f"the recorded closure gives {differs}: something has changed since that is no "
                f"tensor, such as a number in an object or a branch of `if`. Give it as a tensor "
                f"of the batch, or use pprs.smooth"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_recordings": {}}  # which are of this model, and no copy of it


def _difference(loss: Tensor, own: Gradients, replayed: Tensor, found: Gradients) -> str:
    """How a recording's loss and gradient differ from the closure's own; empty if they do not."""
    pairs = [(a, b) for a, b in zip(own, found, strict=True) if a is not None and b is not None]
    apart = math.sqrt(sum(float((a - b).double().square().sum()) for a, b in pairs))
    size = math.sqrt(sum(float(a.double().square().sum()) for a, _ in pairs))
    same = [a is None for a in own] == [b is None for b in found]
    there, here, close = float(replayed), float(loss), _CLOSE[loss.device.type]
    if same and abs(there - here) <= close * abs(here) and apart <= close * size:
        return ""
    return (
        f"the loss {there:.6g} where the closure gives {here:.6g}, with gradients that differ "
        f"by {apart:.2g} of {size:.2g}"
    )
