"""A step whose size is searched: the pass that takes a gradient tries several at once."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from pprs.optim._candidates import Candidates, Centres
from pprs.optim._smoothed_gradient import Centre, best
from pprs.smoothing import NotFiniteError, outside

FACTORS = (0.7, 1.0, 1.4)
"""By what a step multiplies the step size of the one before."""
SEARCHED_SAMPLES = 12
"""So many, in pairs, divide among three candidates."""

FIRST_MOVE = 3e-3  # of the norm of the parameters
_TRIES, _SMALLER = 4, 0.1
_FALLEN = 1e-3  # of the largest step size: a run that has not converged hardly moves any more

Evaluate: TypeAlias = Callable[[Sequence[Centre]], Tensor]
Total: TypeAlias = Callable[[Tensor], Tensor]
Owns: TypeAlias = Callable[[str], bool]


def checked_factors(factors: Iterable[float]) -> tuple[float, ...]:
    """The factors as numbers.

    Raises:
        ValueError: unless they are different numbers above 0, on both sides of 1.
    """
    try:
        numbers = tuple(float(factor) for factor in factors)
    except (TypeError, ValueError):
        numbers = ()
    positive = all(math.isfinite(factor) and factor > 0 for factor in numbers)
    spread = any(factor < 1 for factor in numbers) and any(factor > 1 for factor in numbers)
    if not (positive and spread and len({*numbers}) == len(numbers)):
        raise ValueError(
            f"factors are by what a step may multiply the step size: different numbers above 0, "
            f"some below 1 and some above, as {FACTORS}; got {factors!r}"
        )
    return numbers


class Search:
    """Steps of an optimizer whose size is searched.

    Args:
        candidates: of the step that is to be taken.
        factors: of the step size, that are tried.
        clip: the largest norm of the gradient by all parameters together.

    Attributes:
        norm: of the last gradient, before it was clipped.
    """

    def __init__(
        self, candidates: Candidates, factors: Sequence[float], clip: float | None = None
    ) -> None:
        self.candidates = candidates
        self.clip = clip
        self.norm: float | None = None
        self._largest, self._told = 0.0, False
        # Of equal losses the first counts, and the step size should stay.
        self.factors = sorted(factors, key=lambda factor: abs(math.log(factor)))

    @torch.no_grad()
    def step(
        self,
        evaluate: Evaluate,
        total: Total = lambda values: values,
        owns: Owns = lambda name: True,
    ) -> Tensor:
        """Take the step that is pending, at the best size, and make the next one.

        Args:
            evaluate: gives the mean losses of candidates, leaves the gradient of the best in
                `.grad` and its centre in the parameters; or everything as it was, if none of the
                losses is finite.
            total: sums over processes that share the parameters.
            owns: whether this process is the one that counts a parameter of this name.

        Returns:
            The loss of the best.
        """
        candidates = self.candidates
        candidates.check()
        kept = _Kept(candidates)
        kept.forget_gradients()
        try:
            loss, factor = self._best(evaluate)
            _check_dense(candidates.parameters)
            first = not candidates.pending
            candidates.accept(factor, kept.values)
            self._clip(total, owns)
            candidates.prepare()
            if first:
                self._begin(total, owns)
        except BaseException:
            kept.put_back()
            raise
        self._watch()
        return loss

    def _watch(self) -> None:
        """Warn, once, where the step size has fallen to nearly nothing."""
        lr = float(self.candidates.optimizer.param_groups[0]["lr"])
        self._largest = max(self._largest, lr) if self.candidates.pending else lr
        if not self._told and lr < _FALLEN * self._largest:
            self._told = True
            warnings.warn(
                f"the searched step size has fallen from {self._largest:.2g} to {lr:.2g}: if the "
                f"run has not converged, its steps see different batches, which make the smallest "
                f"step look best; take all examples in each step, or a step size of your own",
                stacklevel=outside(),
            )

    def _best(self, evaluate: Evaluate) -> tuple[Tensor, float]:
        """The loss of the best candidate, and its factor."""
        factors: Sequence[float] = self.factors if self.candidates.pending else (1.0,)
        for _ in range(_TRIES if self.candidates.pending else 1):
            with torch.enable_grad():
                losses = evaluate(Centres(self.candidates, factors))
            chosen = best(losses)
            if chosen is not None:
                return losses[chosen], factors[chosen]
            factors = [factor * _SMALLER for factor in factors]
        tried = " at any step size that was tried" if self.candidates.pending else ""
        raise NotFiniteError(
            f"the loss is not finite{tried} (last: {losses[-1].item()}): lower sigma, or look for "
            f"a division, logarithm or overflow in the loss"
        )

    def _clip(self, total: Total, owns: Owns) -> None:
        """Check that the gradient is finite, and shorten it where it is too long."""
        parameters = self.candidates.parameters.items()
        gradients = {name: p.grad for name, p in parameters if p.grad is not None}
        square = torch.tensor([_square(gradients, owns)], dtype=torch.float64)
        self.norm = total(square).sqrt().item()
        if not math.isfinite(self.norm):
            bad = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
            where = f" of parameter {bad[0]!r}" if bad else ""
            raise NotFiniteError(
                f"the gradient{where} is not finite, though the loss is: look for a square root "
                f"at 0, a division or an overflow in the loss"
            )
        if self.clip is not None and self.norm > self.clip:
            for gradient in gradients.values():
                gradient.mul_(self.clip / self.norm)

    def _begin(self, total: Total, owns: Owns) -> None:
        """Give the first step a size relative to the parameters."""
        sizes = self.candidates.moves(), self.candidates.parameters
        squares = [_square(tensors, owns) for tensors in sizes]
        move, norm = total(torch.tensor(squares, dtype=torch.float64)).sqrt().tolist()
        if move == 0:
            self.candidates.drop()
        elif norm > 0:
            self.candidates.rescale(FIRST_MOVE * norm / move)


class _Kept:
    """All that a step changes, as it was before: of an optimizer's state, the references."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates, self._pending = candidates, dict(vars(candidates))
        self.values = {name: p.detach().clone() for name, p in candidates.parameters.items()}
        optimizer = candidates.optimizer
        every = [p for group in optimizer.param_groups for p in group["params"]]
        self._gradients = {p: p.grad for p in (*candidates.parameters.values(), *every)}
        self._groups = [dict(group) for group in optimizer.param_groups]
        self._state = {key: copy.copy(value) for key, value in optimizer.state.items()}

    def forget_gradients(self) -> None:
        """Leave no gradient of what was frozen since, which would go on moving it."""
        for parameter in self._gradients:
            parameter.grad = None

    def put_back(self) -> None:
        """Put all of it back."""
        vars(self._candidates).update(self._pending)
        for name, parameter in self._candidates.parameters.items():
            parameter.copy_(self.values[name])
        for parameter, gradient in self._gradients.items():
            parameter.grad = gradient
        optimizer = self._candidates.optimizer
        for group, before in zip(optimizer.param_groups, self._groups, strict=True):
            group.clear()
            group.update(before)
        optimizer.state.clear()
        optimizer.state.update(self._state)


def _check_dense(parameters: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        if parameter.grad is not None and parameter.grad.is_sparse:
            raise RuntimeError(
                f"parameter {name!r} has a sparse gradient, but a searched step does not take "
                f"sparse gradients: build the embedding with sparse=False"
            )


def _square(tensors: Mapping[str, Tensor], owns: Owns) -> float:
    """The squared norm together of tensors, by the names of the parameters, that count here."""
    some = [tensor.detach() for name, tensor in tensors.items() if owns(name)]
    return float(get_total_norm(some)) ** 2 if some else 0.0
