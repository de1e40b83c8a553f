"""Smoothed gradients of a closure that is recorded once, and then run without its Python."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from pprs.smoothing._checks import (
    Refusal,
    Unused,
    check_closure,
    check_finite,
    check_model,
    check_unused,
)
from pprs.smoothing._closure_variables import places
from pprs.smoothing._generators import Generators
from pprs.smoothing._hooks import StepGradients
from pprs.smoothing._modules import modules_of
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
from pprs.smoothing._smooth import Closure, losses_at, smooth
from pprs.smoothing.native.recording import Keys

Gradients: TypeAlias = list[Tensor | None]

_MOST = 16  # recordings that are kept
_CLOSE = 0.01  # relative difference of gradients that the same kernels may give


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
        self.closure, self.model = closure, model
        self.perturbation, self.seed = perturbation, seed
        self.step = 0
        """The number of the next call, which keys its noise together with the seed."""
        self.uncaptured: str | None = None
        """Why the closure runs as in `smooth` from now on, if it does."""
        self._unused, self._check = unused, check
        self._recordings: dict[Hashable, _Recording] = {}
        self._last: Mapping[str, Hashable] = {}

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
        met = {} if self.uncaptured else self._met(batch)
        signature = tuple(met.values())
        recorded = self._recordings.get(signature)
        # Nothing that was checked when it was recorded has changed.
        parameters = check_model(self.model) if recorded is None else recorded.parameters
        gradients = StepGradients(parameters.values(), accumulate=True)
        with torch.enable_grad(), gradients.alone():
            if recorded is not None and not recorded.due():
                loss, found = self._replayed(recorded, batch)
            else:
                buffers, before = self._buffers(), Generators(parameters.values())
                loss = self._plain(batch)
                after, found = (
                    Generators(parameters.values()),
                    [p.grad for p in parameters.values()],
                )
                if recorded is None and not self.uncaptured:
                    changed = [n for n, value in self._buffers().items() if buffers.get(n) != value]
                    recorded = self._record(parameters, batch, met, changed)
                if recorded is not None and not after.drew_on_cuda(before):
                    before.set()
                    differs = _difference(loss, found, *self._replayed(recorded, batch))
                    self._judge(recorded, differs)
                if recorded is not None and not self.uncaptured:
                    self._recordings[signature] = recorded
                after.set()
            for parameter, gradient in zip(parameters.values(), found, strict=True):
                parameter.grad = gradient
        gradients.close()
        self.step += 1
        return loss

    def _plain(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Leave the gradient by `smooth` in `.grad`."""
        loss = smooth(
            self.closure,
            self.model,
            self.perturbation,
            batch=batch or None,
            seed=self.seed,
            step=self.step,
            unused=self._unused,
            check=self._check,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _replayed(
        self, recorded: _Recording, batch: tuple[Tensor, ...]
    ) -> tuple[Tensor, Gradients]:
        """The mean loss of all perturbations, and its gradient."""
        noise, keys = Noise(self.seed, self.step), recorded.keys
        keys.fill(noise.numbers(keys.names))
        results = recorded.run(batch)
        loss, losses, finite = (cast(Tensor, result) for result in results[:3])
        if not finite:
            check_finite(losses, self.perturbation)
        return loss, results[3:]

    def _record(
        self,
        parameters: Mapping[str, nn.Parameter],
        batch: tuple[Tensor, ...],
        met: Mapping[str, Hashable],
        changed: Sequence[str],
    ) -> _Recording | None:
        """Record the closure; `None` if that cannot be, which is said once."""
        others = [name for name, value in met.items() if self._last.get(name, value) != value]
        self._last = met
        if len(self._recordings) == _MOST:
            met_again = f"it met other {' and other '.join(others)} again"
            self._give_up(f"{met_again}, and {_MOST} recordings are kept")
            return None
        if changed:
            self._give_up(f"it changes buffer {changed[0]!r}")
            return None
        device = next(iter(parameters.values())).device
        keys = Keys(list(parameters), device)
        sigmas = self.perturbation.sigmas(parameters, self.step)

        def gradient(*rows: Tensor) -> tuple[Tensor | None, ...]:
            noise, leaves = RecordedNoise(keys=keys), list(parameters.values())
            given = sigmas, noise, rows or None, self.model, self._unused
            losses = losses_at(self.closure, parameters, self.perturbation, *given)
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
            f"the closure runs as in pprs.smooth from now on, which is slower: {why}", stacklevel=5
        )

    def _met(self, batch: Sequence[Tensor]) -> dict[str, Hashable]:
        """What a recording holds for: with anything else the closure is recorded anew."""
        modules = [module for _, module in modules_of(self.model)]
        tensors = [
            tensor
            for module in modules
            for tensor in (*module._parameters.values(), *module._buffers.values())
            if tensor is not None
        ]
        given = self.perturbation.sigma
        settings = given.values() if isinstance(given, Mapping) else [given]
        kinds = {tensor.device.type for tensor in tensors}
        return {
            "shapes of the batch": tuple((t.shape, t.dtype, t.device, t.stride()) for t in batch),
            "parameters or buffers": tuple((id(t), t.data_ptr(), t.requires_grad) for t in tensors),
            "modes of modules (train or eval)": tuple(module.training for module in modules),
            "sigmas": tuple(
                setting(self.step) if callable(setting) else setting for setting in settings
            ),
            "settings of autocast": tuple(
                (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds
            ),
            "numbers or tensors in the closure": tuple(_values(self.closure)),
        }

    def _buffers(self) -> dict[str, Hashable]:
        return {name: (id(b), b._version) for name, b in self.model.named_buffers()}

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


def _difference(loss: Tensor, own: Gradients, replayed: Tensor, found: Gradients) -> str:
    """How a recording's loss and gradient differ from the closure's own; empty if they do not."""
    pairs = [(a, b) for a, b in zip(own, found, strict=True) if a is not None and b is not None]
    apart = math.sqrt(sum(float((a - b).double().square().sum()) for a, b in pairs))
    size = math.sqrt(sum(float(a.double().square().sum()) for a, _ in pairs))
    same = [a is None for a in own] == [b is None for b in found]
    there, here = float(replayed), float(loss)
    if same and abs(there - here) <= _CLOSE * abs(here) and apart <= _CLOSE * size:
        return ""
    return (
        f"the loss {there:.6g} where the closure gives {here:.6g}, with gradients that differ "
        f"by {apart:.2g} of {size:.2g}"
    )


def _values(closure: Closure) -> list[Hashable]:
    """Numbers and words that a closure refers to by name, and which tensors."""
    found: list[Hashable] = []
    for place, value in places(closure):
        if isinstance(value, Tensor):
            found.append((place.name, id(value)))
        elif isinstance(value, bool | int | float | str):
            found.append((place.name, value))
    return found
