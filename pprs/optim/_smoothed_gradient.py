"""The gradient of a smoothed loss, at the parameters or at the best of several candidates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pprs.optim._grad_scaler import scalers_refused
from pprs.smoothing import (
    Batch,
    Closure,
    Generators,
    Noise,
    NotFiniteError,
    Perturbation,
    Refusal,
    SizeCheck,
    StepGradients,
    Unused,
    check_finite,
    check_met,
    has_run,
    holding,
    is_first,
    losses_at,
    plain_loss,
    repeat,
    warn_of_size,
)

Centre = Mapping[str, Tensor]
"""What the parameters are at a candidate, by their names."""


@dataclass(frozen=True)
class Draws:
    """What a step draws.

    Args:
        perturbation: how many, and shared by what.
        sigmas: of each parameter, by its full name.
        noise: of the step.
    """

    perturbation: Perturbation
    sigmas: Mapping[str, float]
    noise: Noise

    def among(self, candidates: int) -> Draws:
        """What each of so many candidates draws: the same."""
        return Draws(self.perturbation.among(candidates), self.sigmas, self.noise)


class SmoothedGradient:
    """Takes the gradient of the smoothed loss of a model's closures.

    All perturbations run together under vmap, or one by one once that has failed.

    Args:
        model: whose parameters are perturbed.
        unused: whether closures may leave some of them unused.
        check: whether to compare, now and then, with the loss without noise.
    """

    def __init__(self, model: nn.Module, unused: Unused, check: bool = True) -> None:
        self.model = model
        self.unused = unused
        self._size = SizeCheck() if check else None
        self.vectorised = True

    def take(
        self,
        closure: Closure,
        batch: Batch | None,
        parameters: Mapping[str, nn.Parameter],
        draws: Draws,
        centres: Sequence[Centre] | None = None,
        also: Iterable[nn.Parameter] = (),
    ) -> Tensor:
        """Leave the mean gradient in `.grad`, and the best centre in the parameters.

        Args:
            closure: computes the loss.
            batch: that it is called with.
            parameters: that are perturbed, by name.
            draws: of the step.
            centres: candidates, which share the perturbations evenly and draw the same noise;
                without them there is one, the parameters as they are.
            also: other parameters whose old gradients must not be left.

        Returns:
            The mean losses of the candidates, without graph. If none is finite, all is as it was;
            without centres that raises.
        """
        gradients = StepGradients(dict.fromkeys([*parameters.values(), *also]))
        places = _Places(parameters, centres)
        with gradients.alone(), scalers_refused():
            lanes = self._losses(closure, batch, parameters, draws.among(len(places)), places)
            losses = torch.stack([several.mean() for several in lanes])
            chosen = best(losses)
        if chosen is None:
            gradients.put_back()
            return losses
        places.settle(chosen)
        gradients.close()
        if self._size is not None and any(draws.sigmas.values()) and self._size.due():
            self._compare(closure, batch, parameters, draws, lanes[chosen])
        return losses

    def _compare(
        self,
        closure: Closure,
        batch: Batch | None,
        parameters: Mapping[str, nn.Parameter],
        draws: Draws,
        losses: Tensor,
    ) -> None:
        """Warn if sigma does not suit the loss."""
        gradients = StepGradients(dict.fromkeys(parameters.values()))
        with gradients.alone(), scalers_refused():
            plain = plain_loss(
                closure, batch, self.model, parameters.values(), graph=not self.vectorised
            )
        gradients.put_back()
        if plain is not None and self._size is not None:
            given = draws.perturbation, draws.sigmas.values()
            warn_of_size(self._size.compared(plain, losses.tolist(), *given))

    def _losses(
        self,
        closure: Closure,
        batch: Batch | None,
        parameters: Mapping[str, nn.Parameter],
        draws: Draws,
        places: _Places,
    ) -> list[Tensor]:
        """Those of all perturbations, for each candidate."""
        refusal = None
        if self.vectorised:
            try:
                return self._together(closure, batch, parameters, draws, places)
            except (Refusal, NotFiniteError):
                raise
            except Exception as error:
                # What vmap cannot run may still run K times; what is wrong fails there too.
                refusal = error
        losses = self._one_by_one(closure, batch, parameters, draws, places)
        if refusal is not None:
            self.vectorised = False
            _explain(refusal, draws.perturbation.samples * len(places))
        return losses

    def _together(
        self,
        closure: Closure,
        batch: Batch | None,
        parameters: Mapping[str, nn.Parameter],
        draws: Draws,
        places: _Places,
    ) -> list[Tensor]:
        passes: list[Tensor] = []
        given = draws.perturbation, draws.sigmas, draws.noise, batch, self.model, self.unused
        for number in places:
            places.rewind()
            with places.at(number):
                passes.append(losses_at(closure, parameters, *given))
        losses = [several.detach() for several in passes]
        chosen = best([several.mean() for several in losses])
        if places.only:
            check_finite(passes[0], draws.perturbation)
        if chosen is not None:
            loss = passes[chosen].mean()
            passes.clear()  # and with them the graphs of the others
            with places.at(chosen):  # the graph refers to what the parameters hold there
                loss.backward()  # type: ignore[no-untyped-call]
        return losses

    def _one_by_one(
        self,
        closure: Closure,
        batch: Batch | None,
        parameters: Mapping[str, nn.Parameter],
        draws: Draws,
        places: _Places,
    ) -> list[Tensor]:
        given = draws.perturbation, draws.sigmas, draws.noise, batch
        losses: list[Tensor] = []
        gradients: list[Tensor | None] = []
        for number in places:
            places.rewind()
            try:
                with places.at(number):
                    losses.append(repeat(closure, parameters, *given))
            except NotFiniteError:
                if places.only:
                    raise
                losses.append(torch.tensor([math.nan]))
            if best([several.mean() for several in losses]) == number:
                gradients = [parameter.grad for parameter in parameters.values()]
        for parameter, gradient in zip(parameters.values(), gradients, strict=False):
            parameter.grad = gradient
        if gradients:
            self._check_met(closure, parameters, draws)
        return [loss.to(losses[-1]) for loss in losses]

    def _check_met(
        self, closure: Closure, parameters: Mapping[str, nn.Parameter], draws: Draws
    ) -> None:
        perturbed = [name for name in parameters if draws.sigmas[name] > 0]
        unmet = [name for name in perturbed if parameters[name].grad is None]
        unused = self.unused if is_first(self.model, closure) else "allow"
        check_met(unmet, len(perturbed), unused)
        has_run(self.model, closure)


class _Places:
    """Where the loss is taken: at the candidates, or where the parameters are.

    Args:
        parameters: by name.
        centres: of the candidates, if there are any.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], centres: Sequence[Centre] | None
    ) -> None:
        self._parameters = parameters
        self._centres = centres
        self.only = centres is None
        self._generators = None if centres is None else Generators(parameters.values())

    def __len__(self) -> int:
        return 1 if self._centres is None else len(self._centres)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def rewind(self) -> None:
        """Let layers draw next what they drew at the first candidate."""
        if self._generators is not None:
            self._generators.set()

    @contextmanager
    def at(self, number: int) -> Iterator[None]:
        """Inside the block the parameters hold a candidate."""
        if self._centres is None:
            yield
            return
        centre = self._centres[number]
        values = [centre[name] for name in self._parameters]
        with holding(list(self._parameters.values()), values):
            yield

    @torch.no_grad()
    def settle(self, number: int) -> None:
        """Leave a candidate in the parameters."""
        if self._centres is not None:
            centre = self._centres[number]
            for name, parameter in self._parameters.items():
                parameter.copy_(centre[name])


def best(losses: Sequence[Tensor] | Tensor) -> int | None:
    """The number of the smallest finite loss, the first of equal ones; none if none is finite.

    Example:
        >>> best([torch.tensor(2.0), torch.tensor(1.0), torch.tensor(float("nan"))])
        1
    """
    values = [float(loss) for loss in losses]
    finite = [number for number, value in enumerate(values) if math.isfinite(value)]
    return min(finite, key=values.__getitem__) if finite else None


def _explain(error: Exception, samples: int) -> None:
    # A closure that calls backward() asks for this; any other would like to know.
    if "backward()" not in str(error):
        warnings.warn(
            f"torch.func.vmap could not run the closure ({type(error).__name__}: {error}): PPRS "
            f"runs it {samples} times one by one from now on, which is slower",
            stacklevel=2,
        )
