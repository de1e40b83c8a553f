"""The cheapest look at a chain and its model that sees any difference, but does not name it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pprs.pipeline.selfcheck import words
from pprs.pipeline.selfcheck.both import Both, Ran
from pprs.pipeline.selfcheck.comparing import apart
from pprs.pipeline.selfcheck.sketch import Sketches, off
from pprs.pipeline.selfcheck.whole import UnlikeError


@dataclass(frozen=True)
class Right:
    """What a step must leave.

    Args:
        gradients: sketches of them, by name.
        loss: of the examples.
        eps: the rounding of the coarsest type in which they are computed.
        evaluating: whether in evaluation mode, instead of that in which the model was built.
    """

    gradients: Sketches
    loss: float
    eps: float
    evaluating: bool = False


@dataclass(frozen=True)
class Seen:
    """That nothing differs.

    Args:
        apart: how far results are apart at most.
        right: the model's gradients, in a mode in which it gives the same each time.
    """

    apart: float
    right: Right | None = None


def glance(both: Both, *, gradients: bool = False) -> Seen | None:
    """Run both no more often than it takes to see any difference; ``None`` in doubt.

    A model that draws nothing, and changes nothing, is run backward once. Its chain need not be,
    if the gradients of a step that runs it are compared with those of the model later.

    Args:
        both: chain and model.
        gradients: whether to compare gradients in any case.
    """
    modes = (True, True, False) if both.trained and both.switches else (True, True)
    single = both.plain
    own = both.look("own", modes[:1] if single else modes, backward=True)
    if own.strangers:
        raise UnlikeError(words.strangers(own.strangers))
    still = not own.drawn and _unchanged(both, own)
    if single and not still:
        single, own = False, both.look("own", modes, backward=True)
    still = still and (single or _equal(own.outputs[0], own.outputs[1]))
    if not still and not own.drawn and _unchanged(both, own):
        return None  # it remembers something
    once = (True, *modes[2:]) if still else modes  # what does the same each time needs no second
    once = once[:1] if single else once
    gradients = gradients or not still
    cut = both.look("cut", once, backward=gradients)
    if own.drawn != cut.drawn or not own.sketches.keys() <= both.held:
        return None
    if still and not single:
        del own.outputs[1]
    sizes = [*_outputs(own, cut), *_buffers(both, own, cut)]
    if gradients:
        names = own.sketches.keys() | cut.sketches.keys()
        sizes += [off(cut.sketches.get(n), own.sketches.get(n)) for n in names]
    largest = max(sizes, default=0.0)
    eps = both.precision(own)
    if not largest <= math.sqrt(eps) / 2:
        return None
    return Seen(largest, Right(own.sketches, own.loss, eps) if still else _in_evaluation(both))


def _in_evaluation(both: Both) -> Right | None:
    """The gradients of a model that draws numbers, or changes itself, in training only."""
    if not (both.trained and both.switches):
        return None
    own = both.look("own", (False,), backward=True)
    if own.drawn or not _unchanged(both, own):
        return None
    return Right(own.sketches, own.loss, both.precision(own), evaluating=True)


def _outputs(own: Ran, cut: Ran) -> list[float]:
    pairs = zip(own.outputs, cut.outputs, strict=True)
    return [apart(b.get(n), a.get(n)) for a, b in pairs for n in {**a, **b}]


def _buffers(both: Both, own: Ran, cut: Ran) -> list[float]:
    shared = own.buffers.keys() & cut.buffers.keys() | _changed(both, own)
    return [apart(cut.buffers.get(n), own.buffers.get(n)) for n in shared]


def _changed(both: Both, own: Ran) -> set[str]:
    return {n for n, b in own.buffers.items() if not _same(b, both.buffers.get(n))}


def _unchanged(both: Both, own: Ran) -> bool:
    return own.buffers.keys() == both.buffers.keys() and not _changed(both, own)


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(_same(x, b[name]) for name, x in a.items())


def _same(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.dtype == b.dtype and torch.equal(a, b)
