"""The cheapest comparison of a chain with its model: it finds any difference, without naming it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pprs.pipeline.selfcheck import messages
from pprs.pipeline.selfcheck.model_and_chain import ModelAndChain, RunResults
from pprs.pipeline.selfcheck.model_check import UnlikeError
from pprs.pipeline.selfcheck.rounding import relative_difference
from pprs.pipeline.selfcheck.sketch import Sketches, sketched_difference


@dataclass(frozen=True)
class Reference:
    """The results that a step must have.

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
class Agreement:
    """The result of a comparison in which nothing differs.

    Args:
        apart: the largest relative difference of results.
        right: the model's gradients, in a mode in which it gives the same each time.
    """

    apart: float
    right: Reference | None = None


def quick_check(pair: ModelAndChain, *, gradients: bool = False) -> Agreement | None:
    """Run both as often as it takes to find any difference; `None` if one seems to be there.

    A model that draws nothing, and changes nothing, is run backward once. Its chain need not be,
    if the gradients of a step that runs it are compared with those of the model later.

    Args:
        pair: chain and model.
        gradients: whether to compare gradients in any case.
    """
    modes = (True, True, False) if pair.trained and pair.switches else (True, True)
    single = pair.plain
    own = pair.run("own", modes[:1] if single else modes, "sketches")
    if own.foreign:
        raise UnlikeError(messages.foreign(own.foreign))
    still = not own.drawn and _unchanged(pair, own)
    if single and not still:
        single, own = False, pair.run("own", modes, "sketches")
    still = still and (single or _equal(own.outputs[0], own.outputs[1]))
    if not still and not own.drawn and _unchanged(pair, own):
        return None  # it remembers something
    once = (True, *modes[2:]) if still else modes  # what does the same each time needs no second
    once = once[:1] if single else once
    gradients = gradients or not still
    cut = pair.run("cut", once, "sketches" if gradients else None)
    if own.drawn != cut.drawn or not own.sketches.keys() <= pair.of_chain:
        return None
    if still and not single:
        del own.outputs[1]
    sizes = [*_outputs(own, cut), *_buffers(pair, own, cut)]
    if gradients:
        names = own.sketches.keys() | cut.sketches.keys()
        sizes += [sketched_difference(cut.sketches.get(n), own.sketches.get(n)) for n in names]
    largest = max(sizes, default=0.0)
    eps = pair.precision(own)
    if not largest <= math.sqrt(eps) / 2:
        return None
    reference = Reference(own.sketches, own.loss, eps) if still else _in_evaluation(pair)
    return Agreement(largest, reference)


def _in_evaluation(pair: ModelAndChain) -> Reference | None:
    """The gradients of a model that draws numbers, or changes itself, in training only."""
    if not (pair.trained and pair.switches):
        return None
    own = pair.run("own", (False,), "sketches")
    if own.drawn or not _unchanged(pair, own):
        return None
    return Reference(own.sketches, own.loss, pair.precision(own), evaluating=True)


def _outputs(own: RunResults, cut: RunResults) -> list[float]:
    pairs = zip(own.outputs, cut.outputs, strict=True)
    return [relative_difference(b.get(n), a.get(n)) for a, b in pairs for n in {**a, **b}]


def _buffers(pair: ModelAndChain, own: RunResults, cut: RunResults) -> list[float]:
    shared = own.buffers.keys() & cut.buffers.keys() | _changed(pair, own)
    return [relative_difference(cut.buffers.get(n), own.buffers.get(n)) for n in shared]


def _changed(pair: ModelAndChain, own: RunResults) -> set[str]:
    return {n for n, b in own.buffers.items() if not _same(b, pair.buffers.get(n))}


def _unchanged(pair: ModelAndChain, own: RunResults) -> bool:
    return own.buffers.keys() == pair.buffers.keys() and not _changed(pair, own)


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(_same(x, b[name]) for name, x in a.items())


def _same(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.dtype == b.dtype and torch.equal(a, b)
