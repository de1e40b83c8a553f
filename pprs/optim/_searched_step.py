"""Any optimizer behind the smoothed loss, with a step size that is searched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from pprs._arguments import positive
from pprs.optim._agd import AGD
from pprs.optim._candidates import NesterovCandidates
from pprs.optim._linear_candidates import LinearCandidates
from pprs.optim._pprs import PPRS
from pprs.optim._search import FACTORS, SEARCHED_SAMPLES, Search, checked_factors
from pprs.optim._smoothed_gradient import Centre, Draws, SmoothedGradient
from pprs.optim.registry import evaluating
from pprs.smoothing import (
    DEFAULT_SIGMA,
    Batch,
    Closure,
    Noise,
    Perturbation,
    Sigma,
    Unused,
    check_closure,
    check_model,
    check_unused,
    checked_seed,
    is_first,
    warn_of_zeros,
)


class Evaluator(Protocol):
    """What takes smoothed gradients for a `SearchedStep`: a `Pipeline`, for one.

    Attributes:
        perturbation: what is averaged, by all candidates together.
        steps: how many were taken; keys the noise of the next one.

    Example:
        >>> from pprs.pipeline import Pipeline
        >>> all(hasattr(Pipeline, name) for name in ("named_parameters", "step", "total"))
        True
    """

    perturbation: Perturbation
    steps: int

    def named_parameters(self) -> Any:
        """The trainable parameters of this process, by name: a dictionary, or pairs."""

    @property
    def step(self) -> Callable[..., Tensor]:
        """Takes the gradient at the best of several candidates, and counts a step.

        It is called with what `SearchedStep.step` was called with, and `centres`: what the
        parameters are at each candidate, by name. These share the perturbations evenly and draw the
        same noise. It gives their mean losses, the same in all processes, and leaves the gradient
        of the best (the first of equal ones, see `best`) in `.grad`, and its centre in the
        parameters; if no loss is finite, all is as it was.
        """

    def total(self, values: Tensor) -> Tensor:
        """The sums of values over all processes that share the parameters."""

    def owns(self, name: str) -> bool:
        """Whether this process is the one, of those that hold a parameter, that counts it."""


class SearchedStep:
    r"""Steps of any optimizer from the smoothed gradient, with a step size that is searched.

    The K perturbations of a step are shared by three candidates: where the last gradient's step
    leads at 0.7, 1 and 1.4 times the step size. One pass gives the smoothed loss of all three, with
    the same noise; the best is kept with its gradient, the step size follows, and the optimizer
    makes the next step from that gradient. The search takes no pass of its own.

    It is for steps that all see the same examples: with changing batches the step size falls to
    nothing, and a warning says so.

    After each step the parameters hold the best candidate. The next step is made by then but its
    size is not, so that it is a part of `state_dict`. The first call takes the gradient only.

    Where the loss is finite at no candidate, the step is tried again at a tenth of its size, three
    times at most, and then raises an error. Where all candidates are worse than the last loss, the
    best of them is taken all the same: other noise, or another batch, can be the reason.

    Args:
        optimizer: any whose steps are proportional to `lr`: SGD, Adam, AdamW, RMSprop, ... or
            `AGD`. This is checked in the first step. Its own `lr` does not matter, only the ratios
            between param groups: the first step moves the parameters by 0.003 of their norm.
        model: whose parameters it moves; or a `Pipeline`, which says what is averaged itself.
        perturbation: what is averaged; or sigma. By default 12 perturbations, in pairs X, -X,
            of 0.01 of each filter's norm.
        factors: of the step size, that are tried; they divide the number of perturbations.
        clip: the largest norm of the gradient by all parameters together, above 0; longer ones
            are shortened. By default none is.
        seed: makes the run repeatable; `None` draws one from the operating system.
        unused: whether closures may leave parameters unused, see `pprs.smooth`.

    Raises:
        ValueError: for arguments out of range, or samples that the factors do not divide.
        TypeError: for anything but an optimizer and a model.

    Example:
        >>> import torch, pprs
        >>> import torch.nn.functional as F
        >>> model = torch.nn.Linear(4, 3)
        >>> x, y = torch.randn(8, 4), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
        >>> searched = pprs.SearchedStep(torch.optim.Adam(model.parameters()), model)
        >>> losses = [searched.step(lambda: F.cross_entropy(model(x), y)) for _ in range(50)]
        >>> bool(losses[-1] < losses[0])
        True
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module | Evaluator,
        *,
        perturbation: Perturbation | Sigma | None = None,
        factors: Iterable[float] = FACTORS,
        clip: float | None = None,
        seed: int | None = None,
        unused: Unused = "error",
    ) -> None:
        _check_optimizer(optimizer)
        self.optimizer = optimizer
        self.factors = checked_factors(factors)
        positive(**({} if clip is None else {"clip": clip}))
        if isinstance(model, nn.Module):
            self._evaluator: Evaluator = _Model(model, perturbation, seed, unused)
        elif not hasattr(model, "named_parameters"):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        elif perturbation is not None or seed is not None:
            raise ValueError("a Pipeline has a perturbation and a seed: give them to it alone")
        else:
            self._evaluator = model
        self._evaluator.perturbation.among(len(self.factors))
        kind = NesterovCandidates if isinstance(optimizer, AGD) else LinearCandidates
        self._candidates = kind(optimizer)
        self._search = Search(self._candidates, self.factors, clip)

    @property
    def gradient_norm(self) -> float | None:
        """The norm of the last gradient by all parameters together, before it was clipped."""
        return self._search.norm

    @property
    def moves(self) -> dict[str, Tensor] | None:
        """By what the pending step moves each parameter, by name, for checkpoints; or `None`.

        So for `AGD`, whose own state has the step.
        """
        found = self._candidates
        return found.by_name if isinstance(found, LinearCandidates) else None

    @moves.setter
    def moves(self, moves: Mapping[str, Tensor] | None) -> None:
        parameters = self._check_moves(moves)
        if isinstance(self._candidates, LinearCandidates):
            self._candidates.by_name = (
                None
                if moves is None
                else {name: move.to(parameters[name], copy=True) for name, move in moves.items()}
            )

    @property
    def lr(self) -> float:
        """The step size of the first param group, that of the next step before its factor."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, *batch: Any) -> Tensor:
        """Take the best candidate of the pending step, and make the next one.

        Args:
            batch: the closure, and the batch that it is called with if it takes one, as for
                `PPRS.step`; with a `Pipeline`, its inputs and targets, in a collective call.

        Returns:
            The smoothed loss of the candidate, a scalar without graph. `.grad` holds its gradient,
            which hooks of the optimizer may still change (`register_step_pre_hook`).

        Raises:
            ValueError: for an optimizer whose steps are not proportional to its step size.
            RuntimeError: as for `PPRS.step`; or if something else has set `lr`, a gradient is not
                finite, or the loss is so at no candidate. After any error parameters, gradients and
                the pending step are what they were.
        """
        if isinstance(self.optimizer, AGD) and _has_hooks(self.optimizer):
            raise RuntimeError(
                "AGD has hooks of its step, which a searched step of it does not run: use hooks of "
                "the parameters, register_post_accumulate_grad_hook"
            )
        evaluator, steps = self._evaluator, self._evaluator.steps
        self._candidates.parameters = dict(evaluator.named_parameters())
        try:
            return self._search.step(
                lambda centres: evaluator.step(*batch, centres=centres),
                evaluator.total,
                evaluator.owns,
            )
        except BaseException:
            evaluator.steps = steps
            raise

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The parameters hold the optimizer's result inside the block: $y_t$ for `AGD`."""
        with evaluating(self.optimizer):
            yield

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on bit for bit, beside the parameters."""
        state = {"optimizer": self.optimizer.state_dict(), "steps": self._evaluator.steps}
        if isinstance(self._evaluator, _Model):
            state["seed"] = self._evaluator.seed
        if isinstance(self._candidates, LinearCandidates):
            state["moves"] = self.moves
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()` of a `SearchedStep` of the same optimizer and model.

        Raises:
            ValueError: for another state, or moves of parameters that are not there.
        """
        missing = {"optimizer", "steps"} - state_dict.keys()
        if missing:
            raise ValueError(
                f"the state is not that of a SearchedStep, since it has no "
                f"{', '.join(sorted(missing))}: load it into an object of the class that saved it"
            )
        moves = state_dict.get("moves")
        self._check_moves(moves)
        self.optimizer.load_state_dict(copy.deepcopy(state_dict["optimizer"]))
        self._evaluator.steps = state_dict["steps"]
        if isinstance(self._evaluator, _Model):
            self._evaluator.seed = state_dict["seed"]
        self.moves = moves

    def _check_moves(self, moves: Mapping[str, Tensor] | None) -> dict[str, nn.Parameter]:
        """The parameters, if these are moves of them."""
        parameters = dict(self._evaluator.named_parameters())
        for name, move in (moves or {}).items():
            if name not in parameters or parameters[name].shape != move.shape:
                raise ValueError(
                    f"the state has a step of a parameter {name!r} of shape {tuple(move.shape)}, "
                    f"which the model has not: load it into the same model"
                )
        return parameters


class _Model:
    """Takes the smoothed gradients of a model in this process."""

    def __init__(
        self,
        model: nn.Module,
        perturbation: Perturbation | Sigma | None,
        seed: int | None,
        unused: Unused,
    ) -> None:
        check_unused(unused)
        if perturbation is None:
            perturbation = Perturbation.filter(DEFAULT_SIGMA, SEARCHED_SAMPLES, antithetic=True)
        elif not isinstance(perturbation, Perturbation):
            perturbation = Perturbation(perturbation, SEARCHED_SAMPLES, antithetic=True)
        self.perturbation = perturbation
        self.steps = 0
        self.seed = checked_seed(seed)
        self._smoothed = SmoothedGradient(model, unused)
        parameters = check_model(model)
        warn_of_zeros(model, parameters, perturbation.sigmas(parameters, 0), perturbation.scale)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        return check_model(self._smoothed.model)

    def step(
        self,
        closure: Closure | None = None,
        batch: Batch | None = None,
        *,
        centres: Sequence[Centre],
    ) -> Tensor:
        if closure is None:
            raise ValueError(
                "SearchedStep.step needs a closure, since it takes K gradients per step: "
                "searched.step(lambda: loss_function(model(x), y))"
            )
        model = self._smoothed.model
        if is_first(model, closure):
            check_closure(closure, batch)
        parameters = check_model(model)
        sigmas = self.perturbation.sigmas(parameters, self.steps)
        draws = Draws(self.perturbation, sigmas, Noise(self.seed, self.steps))
        losses = self._smoothed.take(closure, batch, parameters, draws, centres)
        self.steps += bool(losses.isfinite().any())
        return losses

    def total(self, values: Tensor) -> Tensor:
        return values

    def owns(self, name: str) -> bool:
        return True


def _has_hooks(optimizer: Optimizer) -> bool:
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def _check_optimizer(optimizer: object) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"SearchedStep takes an optimizer and its model, "
            f"SearchedStep(torch.optim.Adam(model.parameters()), model), got "
            f"{type(optimizer).__name__}"
        )
    if isinstance(optimizer, PPRS):
        raise TypeError('PPRS smooths by itself: search its step by PPRS(model, lr="search")')
    if not any(group.get("lr", 0) > 0 for group in optimizer.param_groups):
        raise ValueError(
            f"{type(optimizer).__name__} has no lr above 0: the search changes it, but keeps the "
            f"ratios between param groups"
        )
