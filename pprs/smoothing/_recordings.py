"""Recordings of a smoothed gradient: when one is made, run again, compared and given up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from pprs.smoothing._checks import Refusal
from pprs.smoothing._generators import Generators
from pprs.smoothing._graph import leaves
from pprs.smoothing._hooks import StepGradients
from pprs.smoothing._noise import Noise, RecordedNoise
from pprs.smoothing._perturbation import Perturbation
from pprs.smoothing._replay import Replay, record
from pprs.smoothing._side_effects import SideEffects
from pprs.smoothing._size_check import generators_kept, goes_on
from pprs.smoothing._smooth import Closure
from pprs.smoothing._surroundings import Watched, met, python_generators
from pprs.smoothing.native.recording import Keys

Gradients: TypeAlias = list[Tensor | None]

_MOST = 16  # recordings that are kept
# Relative difference of gradients that the same kernels may give.
_CLOSE = {"cpu": 1e-4, "cuda": 0.01}


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


class _Unrecordable(Exception):
    """Says why a pass cannot be recorded."""


class Recordings(ABC):
    """Takes gradients of a smoothed loss: by its Python when need be, else by a recording of that.

    Args:
        closure: what is looked at, besides the model, for what a recording holds for.
        model: whose trainable parameters are perturbed.
        perturbation: of which law.
        exact: whether a recording must give the same bits, and draw nothing but the noise.
    """

    _instead = "use pprs.smooth"

    def __init__(
        self, closure: Closure, model: nn.Module, perturbation: Perturbation, *, exact: bool
    ) -> None:
        self._closure, self._model, self._perturbation = closure, model, perturbation
        self.uncaptured: str | None = None
        """Why nothing is recorded any more, if that is so."""
        self._exact = exact
        self._recordings: dict[Hashable, _Recording] = {}
        self._last: Mapping[str, Hashable] = {}
        self._unsettled = False  # whether the last pass that was to be recorded changed something

    @abstractmethod
    def _noise(self) -> Noise:
        """That of the next call."""

    @abstractmethod
    def _parameters(self) -> Mapping[str, nn.Parameter]:
        """Those that are perturbed, by the names that key their noise."""

    @abstractmethod
    def _plain(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Leave the gradient of the next call in `.grad`, without a recording; its mean loss."""

    @abstractmethod
    def _losses(
        self, parameters: Mapping[str, nn.Parameter], noise: Noise, batch: tuple[Tensor, ...]
    ) -> Tensor:
        """What is recorded: losses, whose mean has that gradient."""

    @abstractmethod
    def _check(self, losses: Tensor) -> None:
        """Refuse losses that are not finite."""

    def _give_up(self, why: str) -> None:
        """Record nothing any more."""
        self.uncaptured = why
        self._recordings.clear()

    def _take(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Add the gradient at a batch to the parameters' `.grad`; the mean loss."""
        around = {} if self.uncaptured else self._met(batch)
        recorded = self._recordings.get(tuple(around.values()))
        # Nothing that was checked when it was recorded has changed.
        parameters = self._parameters() if recorded is None else recorded.parameters
        gradients = StepGradients(parameters.values(), accumulate=True)
        with torch.enable_grad(), gradients.alone():
            loss, found = self._found(recorded, parameters, batch, around)
            for parameter, gradient in zip(parameters.values(), found, strict=True):
                parameter.grad = gradient
        gradients.close()
        return loss

    def _found(
        self,
        recorded: _Recording | None,
        parameters: Mapping[str, nn.Parameter],
        batch: tuple[Tensor, ...],
        around: Mapping[str, Hashable],
    ) -> tuple[Tensor, Gradients]:
        if recorded is not None and not recorded.due():
            # Of what is wrong with a batch the Python tells more.
            with suppress(Exception):
                return self._replayed(recorded, batch)
        return self._compared(recorded, parameters, batch, around)

    def _compared(
        self,
        recorded: _Recording | None,
        parameters: Mapping[str, nn.Parameter],
        batch: tuple[Tensor, ...],
        around: Mapping[str, Hashable],
    ) -> tuple[Tensor, Gradients]:
        """The loss and gradient by Python; the recording, which may be made now, has them, too."""
        before = Generators(parameters.values())
        watched = None
        if recorded is None and not self.uncaptured:
            watched = Watched(self._closure, self._model, batch, around)
        loss = self._plain(batch)
        found = [parameter.grad for parameter in parameters.values()]
        after = Generators(parameters.values())
        if watched is not None and self._may_record(watched, self._met(batch)):
            with self._left_alone(parameters):
                recorded = self._recorded(parameters, batch)
        if recorded is not None and not after.drew_on_cuda(before):
            before.set()
            self._judge(recorded, batch, loss, found)
        if recorded is not None and not self.uncaptured:
            self._recordings[tuple(around.values())] = recorded
        after.set()
        return loss, found

    def _replayed(
        self, recorded: _Recording, batch: tuple[Tensor, ...]
    ) -> tuple[Tensor, Gradients]:
        """The mean loss of all perturbations, and its gradient."""
        noise, keys = self._noise(), recorded.keys
        keys.fill(noise.numbers(keys.names))
        results = recorded.run(batch)
        loss, losses, finite = (cast(Tensor, result) for result in results[:3])
        if not finite:
            self._check(losses)
        return loss, results[3:]

    def _judge(
        self, recorded: _Recording, batch: tuple[Tensor, ...], loss: Tensor, found: Gradients
    ) -> None:
        """Record no more, or raise `RuntimeError`, if a recording differs from the closure."""
        same = False
        try:
            replayed = self._replayed(recorded, batch)
            same = _same_bits([loss, *found], [replayed[0], *replayed[1]])
            differs = "" if same else _difference(loss, found, *replayed)
        except Exception as error:
            differs = f"no gradient ({type(error).__name__}: {str(error).partition('. ')[0]})"
        if differs and recorded.calls > 1:
            raise RuntimeError(
                f"the recorded closure gives {differs}: something has changed since that is no "
                f"tensor, such as a number in an object or a branch of `if`. Give it as a tensor "
                f"of the batch, or {self._instead}"
            )
        if differs:  # nothing came of it yet
            self._give_up(f"its recording gives {differs}")
        elif self._exact and not same:
            self._give_up("its recording rounds otherwise")

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

    def _recorded(
        self, parameters: Mapping[str, nn.Parameter], batch: tuple[Tensor, ...]
    ) -> _Recording | None:
        """Record a pass; `None` if that cannot be."""
        own = list(parameters.values())
        device = own[0].device
        keys = Keys(list(parameters), device)

        def gradient(*rows: Tensor) -> tuple[Tensor | None, ...]:
            losses = self._losses(
                parameters, RecordedNoise(step=self._noise().step, keys=keys), rows
            )
            loss = losses.mean()
            others = leaves([loss]) - set(own)
            if others:
                raise _Unrecordable(
                    f"{len(others)} tensors that are not the model's get gradients from it, too"
                )
            found = torch.autograd.grad(loss, own, allow_unused=True)
            return loss.detach(), losses.detach(), losses.detach().isfinite().all(), *found

        try:
            if goes_on(self._closure):
                raise _Unrecordable("it refers to an iterator or a generator of random numbers")
            before, drawn = Generators(own), python_generators()
            run = record(gradient, batch, device)
            if drawn != python_generators():
                raise _Unrecordable("it draws random numbers of Python or NumPy")
            if self._exact and Generators(own).drew(before):
                raise _Unrecordable("its layers draw random numbers")
            return _Recording(run, keys, parameters, 1)
        except Refusal:
            raise
        except _Unrecordable as error:
            self._give_up(str(error))
        except Exception as error:
            first = str(error).partition(". ")[0]
            self._give_up(f"torch cannot record it ({type(error).__name__}: {first})")
        return None

    def _met(self, batch: tuple[Tensor, ...]) -> dict[str, Hashable]:
        return met(self._closure, self._model, self._perturbation, self._noise().step, batch)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_recordings": {}}  # which are of this model, and no copy of it


def _same_bits(own: Gradients, found: Gradients) -> bool:
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and torch.allclose(a, b, 0.0, 0.0, equal_nan=True))
        for a, b in zip(own, found, strict=True)
    )


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
