"""Whether sigma suits the loss: now and then the loss is taken without noise, too."""

from __future__ import annotations

import math
import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import FrameType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pprs.smoothing._caches import fresh_caches
from pprs.smoothing._closure_variables import places
from pprs.smoothing._generators import Generators
from pprs.smoothing._hooks import StepGradients
from pprs.smoothing._perturbation import Perturbation
from pprs.smoothing._side_effects import SideEffects
from pprs.smoothing._vmap import depth

_FAR = 0.2  # of the largest loss without noise so far: in trials 0.14 did no harm, 0.2 often did
_AIM = 0.05  # of it, at what is suggested instead
_SAME = 1e-5  # of the loss: no perturbation changes it by more
_THEIRS = {"torch", "numpy", "random"}  # whose generators are put back
_PATIENCE = 3  # comparisons without any difference: layers that are 0 at first hide it


class SigmaWarning(UserWarning):
    """Sigma is too large for the loss, or too small to change it.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", SigmaWarning)  # to hear nothing of it
    """


@dataclass
class SizeCheck:
    """Compares the losses with and without noise in the calls 1, 2, 4, 8, and so on.

    Example:
        >>> check = SizeCheck()
        >>> [check.due() for _ in range(5)]
        [True, True, False, True, False]
        >>> print(check.compared(2.0, [3.0, 4.0], Perturbation(0.1)))
        sigma 0.1 is too large: the smoothed loss is 3.5, far above the loss without noise, 2: \
try sigma 0.02, or Perturbation.filter(0.01), which follows the size of the weights
    """

    calls: int = 0
    scale: float = 0.0  # the largest loss without noise so far
    same: int = 0  # comparisons that showed no difference, from the first on
    ended: bool = False

    def due(self) -> bool:
        """Count a call; whether this is one in which the losses are compared.

        It depends on nothing else: processes that run such a pass together must agree.
        """
        self.calls += 1
        return self.calls & (self.calls - 1) == 0

    def compared(
        self,
        plain: float,
        losses: Sequence[float],
        perturbation: Perturbation,
        sigmas: Iterable[float] = (),
        *,
        mean: bool = False,
    ) -> str | None:
        """What is wrong with sigma, once; `None` if nothing is seen.

        Args:
            plain: the loss without noise.
            losses: those with noise, of the same batch.
            perturbation: what was averaged.
            sigmas: of the parameters in this step, if there is not one for all.
            mean: whether each is one of many perturbations, where differences cancel.
        """
        smoothed = sum(losses) / len(losses)
        if self.ended or not math.isfinite(plain + smoothed) or plain <= 0:
            return None
        values = {sigma for sigma in sigmas if sigma > 0}
        if len(values) == 1:
            perturbation = replace(perturbation, sigma=values.pop())
        self.scale = max(self.scale, plain)
        excess = (smoothed - plain) / self.scale
        if excess > _FAR:
            return self._end(_too_large(plain, smoothed, math.sqrt(_AIM / excess), perturbation))
        equal = not mean and max(abs(loss - plain) for loss in losses) <= _SAME * plain
        self.same = self.same + 1 if equal and self.same >= 0 else -1
        return self._end(_too_small(perturbation)) if self.same == _PATIENCE else None

    def _end(self, said: str) -> str:
        self.ended = True
        return said


def warn_of_size(said: str | None) -> None:
    """Warn where pprs was called, if there is something to say."""
    if said:
        warnings.warn(said, SigmaWarning, stacklevel=outside())


def outside() -> int:
    """The level of the stack, seen from who asks, at which pprs was called."""
    level, frame = 0, sys._getframe()
    while frame.f_back and _package(frame) in {"pprs", "torch"}:
        level, frame = level + 1, frame.f_back
    return level


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def plain_loss(
    closure: Callable[..., Tensor],
    batch: Sequence[Tensor] | None,
    model: nn.Module,
    parameters: Collection[Tensor],
    *,
    graph: bool = False,
) -> float | None:
    """The loss at the parameters as they are; generators, model and variables stay as they were.

    Args:
        closure: computes it.
        batch: that it is called with.
        model: that it runs.
        parameters: of the model.
        graph: whether to record one, for closures that call `backward()`.

    Returns:
        `None` where it cannot be told: the closure fails, modules have backward hooks, or there
        is an iterator or a generator of its own, which would go on; or four losses with other
        random numbers of torch's, as of dropout, are as far apart as a sigma that is too large
        would make them. Otherwise it is the largest of the four.
    """
    if goes_on(closure):
        return None
    try:
        effects = SideEffects(model, 1, True, closure)
    except RuntimeError:
        return None
    try:
        grad = torch.set_grad_enabled(graph)
        with generators_kept(parameters), _quiet(), fresh_caches(), uncompiled(), grad:
            before = Generators(parameters)
            losses = [float(closure(*(batch or ())))]
            if Generators(parameters).drew(before):
                losses += [float(closure(*(batch or ()))) for _ in range(3)]
            return max(losses) if max(losses) - min(losses) <= _FAR * max(losses) else None
    except Exception:  # the smoothed pass says what is wrong with it
        return None
    finally:
        effects.restore(everything=True)


def plain_failure(
    closure: Callable[..., Tensor],
    batch: Sequence[Tensor],
    model: nn.Module,
    parameters: Collection[nn.Parameter],
) -> Exception | None:
    """What a closure raises without noise, too: torch says it more plainly there than under vmap.

    Args:
        closure: that has failed with noise.
        batch: that it is called with.
        model: that it runs; it stays as it was, as for `plain_loss`.
        parameters: of the model.
    """
    if depth() or goes_on(closure):  # inside another pass it would be seen by that one
        return None
    gradients = StepGradients(dict.fromkeys(parameters))
    try:
        effects = SideEffects(model, 1, True, closure)
    except RuntimeError:
        return None
    try:
        with gradients.alone(), generators_kept(parameters), _quiet(), fresh_caches(), uncompiled():
            closure(*batch)
    except Exception as error:
        return error
    finally:
        effects.restore(everything=True)
        gradients.put_back()
    return None


def uncompiled() -> AbstractContextManager[Any]:
    """Compiled models run as plain Python inside: torch's compiler sees no perturbed parameters."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes seconds
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _too_large(plain: float, smoothed: float, factor: float, perturbation: Perturbation) -> str:
    said = (
        f"{perturbation.size} is too large: the smoothed loss is {smoothed:.3g}, far above the "
        f"loss without noise, {plain:.3g}: try "
    )
    return said + _instead(perturbation, min(factor, 0.5))


def _too_small(perturbation: Perturbation) -> str:
    return (
        f"{perturbation.size} is too small: no perturbation changes the loss by more than a "
        f"hundred-thousandth, so all gradients are the one without noise: try "
        f"{_instead(perturbation, 100)}, or no smoothing"
    )


def _instead(perturbation: Perturbation, factor: float) -> str:
    sigma, unit = perturbation.sigma, " of each filter's norm" if perturbation.scale else ""
    if isinstance(sigma, Mapping) or callable(sigma):
        value = f"{_rounded(factor)} times as much"
    else:
        value = f"sigma {_rounded(sigma * factor)}{unit}"
    relative = ", or Perturbation.filter(0.01), which follows the size of the weights"
    return value if perturbation.scale else value + relative


def _rounded(value: float) -> str:
    """Down to one digit, as it is a guess."""
    unit = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return f"{float(f'{math.floor(value / unit + 1e-9) * unit:.1g}'):g}"


def goes_on(closure: Callable[..., Tensor]) -> bool:
    """Whether a further pass would take something from a variable that does not come back.

    The generators in modules of Python, torch and NumPy are not meant: they are put back.
    """
    numpy: Any = sys.modules.get("numpy")
    own: Any = (Iterator, torch.Generator, random.Random)
    kinds = own if numpy is None else (*own, numpy.random.Generator)
    return any(isinstance(item, kinds) for _, value in places(closure) for item in _near(value))


def _near(value: object) -> Iterator[object]:
    """A value, and what is in it."""
    yield value
    if isinstance(value, ModuleType) and value.__name__.partition(".")[0] in _THEIRS:
        return
    inside = getattr(value, "__dict__", value)
    if isinstance(inside, dict):
        yield from list(inside.values())
    elif isinstance(inside, list | tuple):
        yield from inside


@contextmanager
def generators_kept(parameters: Iterable[Tensor]) -> Iterator[None]:
    numpy: Any = sys.modules.get("numpy")
    devices = sorted({p.device.index for p in parameters if p.is_cuda})
    own, theirs = random.getstate(), None if numpy is None else numpy.random.get_state()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(own)
            if numpy is not None:
                numpy.random.set_state(theirs)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the closure warns of, it warns of in the smoothed pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
