"""Candidates of a step: centres at which the microbatches of one pass run, to keep the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.optim import Centre, best
from pprs.pipeline.clipping import total
from pprs.smoothing import fresh_caches

if TYPE_CHECKING:
    from pprs.pipeline.split_backward_stage import SplitBackwardStage


@dataclass
class _Held:
    """What the parameters hold while a microbatch of a candidate runs."""

    values: list[Tensor]
    gradients: list[Tensor | None]


class Candidates:
    """The candidates of a step, one of which this process's parameters hold at a time.

    Whatever reaches a parameter, forward or backward, finds the values and the gradient of the
    candidate whose microbatch runs. Each has its own in memory.

    Args:
        parameters: of this process, by name.
        centres: of each candidate, by the same names.

    Raises:
        ValueError: for centres that are not like the parameters.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], centres: Sequence[Centre]) -> None:
        centres = _checked(parameters, centres)
        self._parameters = list(parameters.values())
        self._candidates = [
            _Held([_like(p, centre[name]) for name, p in parameters.items()], [None] * len(centre))
            for centre in centres
        ]
        self._now: _Held | None = None
        self._shares: list[int] = []
        self._losses = torch.zeros(len(centres))

    @classmethod
    def of(
        cls,
        parameters: Mapping[str, nn.Parameter],
        centres: Sequence[Centre] | None,
        accumulate: bool,
    ) -> Candidates | None:
        """Those of a step, if it has centres.

        Raises:
            ValueError: if they do not fit the parameters, or the step accumulates.
        """
        if centres is None:
            return None
        if accumulate:
            raise ValueError(
                "accumulate=True adds up gradients at one point, and centres= keep that of the "
                "best: leave one of them out"
            )
        return cls(parameters, centres)

    def __len__(self) -> int:
        return len(self._candidates)

    @contextmanager
    def tried(self, stages: Sequence[SplitBackwardStage], shares: list[int]) -> Iterator[None]:
        """A block in which stages run at candidates; parameters then hold again what they did.

        Args:
            stages: of this process.
            shares: the number of the candidate of each microbatch of this copy.
        """
        before = _Held([p.data for p in self._parameters], [p.grad for p in self._parameters])
        self._shares = shares
        for stage in stages:
            stage.turn_to = self._turn_to
        try:
            yield
        finally:
            for stage in stages:
                stage.turn_to = None
            self._put(before)

    @torch.no_grad()
    def in_turn(self, step: Callable[[], Tensor]) -> Tensor:
        """Take a step at one candidate after the other; parameters then hold again what they did.

        Args:
            step: leaves a gradient in `.grad`, and gives the losses. It always finds the values in
                the same memory.

        Returns:
            The losses of all candidates.
        """
        before = [p.detach().clone() for p in self._parameters]
        self._shares, losses = list(range(len(self))), list[Tensor]()
        try:
            for candidate in self._candidates:
                self._fill(candidate.values)
                losses.append(step())
                candidate.gradients = [p.grad for p in self._parameters]
        finally:
            self._fill(before)
        return torch.cat(losses)

    def _fill(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
            parameter.grad = None

    def gather(
        self, losses: Tensor | None, device: torch.device, everyone: dist.ProcessGroup | None
    ) -> Tensor:
        """The mean losses of all candidates, shape `(candidates,)`; a collective call.

        Args:
            losses: of this copy's microbatches, on the last stage.
            device: where this process computes.
            everyone: the processes of all copies.
        """
        sums = torch.zeros(2, len(self), dtype=torch.float64, device="cpu")
        if losses is not None:
            one = torch.stack([losses, torch.ones_like(losses)]).to(sums)
            sums.index_add_(1, torch.tensor(self._shares), one)
        sums = total(sums, device, everyone)
        self._losses = sums[0] / sums[1]
        return self._losses

    @torch.no_grad()
    def keep_best(self) -> bool:
        """Give the parameters the best candidate, and the mean gradient of this copy there.

        Returns:
            Whether there is one: if no loss is finite, parameters stay as they are.
        """
        chosen, number = best(self._losses), len(self._shares) / len(self)
        if chosen is None:
            return False
        held = self._candidates[chosen]
        for i, parameter in enumerate(self._parameters):
            gradient = held.gradients[i]
            parameter.copy_(held.values[i])
            parameter.grad = None if gradient is None else gradient.div_(number)
        return True

    def _turn_to(self, microbatch: int) -> None:
        candidate = self._candidates[self._shares[microbatch]]
        if candidate is not self._now:
            self._put(candidate)

    def _put(self, held: _Held) -> None:
        if self._now is not None:
            self._now.gradients = [p.grad for p in self._parameters]
        for parameter, value, gradient in zip(
            self._parameters, held.values, held.gradients, strict=True
        ):
            # A graph refers to the parameter itself, and needs the same candidate backward.
            parameter.data = value
            parameter.grad = gradient
        self._now = held
        with fresh_caches():  # of what was computed from the parameters
            pass


def _checked(parameters: Mapping[str, nn.Parameter], centres: Sequence[Centre]) -> Sequence[Centre]:
    """The centres, each made once."""
    made = list(centres) if isinstance(centres, Sequence) else []
    if not made or not all(isinstance(centre, Mapping) for centre in made):
        raise ValueError(
            f"centres must be a sequence of dictionaries from names to tensors, at least one, got "
            f"{centres!r:.80}"
        )
    for i, centre in enumerate(made):
        if centre.keys() != parameters.keys():
            name = min(map(str, centre.keys() ^ parameters.keys()))
            what = "has" if name in centre else "lacks"
            raise ValueError(
                f"centres[{i}] {what} {name!r}: its names must be those of named_parameters() on "
                f"this rank"
            )
        for name, parameter in parameters.items():
            if _kind(centre[name]) != _kind(parameter):
                raise ValueError(
                    f"centres[{i}][{name!r}] must be like the parameter, {_kind(parameter)}: got "
                    f"{_kind(centre[name])}"
                )
    return made


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """The values in the parameter's order of memory, since another one may round differently."""
    same = value.device == parameter.device and value.stride() == parameter.stride()
    return value.detach() if same else torch.empty_like(parameter.data).copy_(value.detach())
