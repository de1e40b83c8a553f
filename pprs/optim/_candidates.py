"""Where a step of an optimizer would lead, at several multiples of its step size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pprs.optim._agd import AGD, advance
from pprs.optim._smoothed_gradient import Centre


class Candidates(ABC):
    """The step that an optimizer would take from its last gradient, whose size is left open.

    Args:
        optimizer: whose step it is; its param groups keep the ratios of their step sizes.

    Attributes:
        parameters: that are searched over, by name.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.parameters: Mapping[str, nn.Parameter] = {}

    @property
    @abstractmethod
    def pending(self) -> bool:
        """Whether there is such a step."""

    @abstractmethod
    def centre(self, factor: float) -> dict[str, Tensor]:
        """What the parameters would be after the step, at so many times the step size."""

    @abstractmethod
    def accept(self, factor: float, before: Centre) -> None:
        """Make this multiple the step size, now that the parameters hold its centre.

        Args:
            factor: of the step size.
            before: what the parameters were.
        """

    @abstractmethod
    def drop(self) -> None:
        """Forget the step."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the next step from the gradients in `.grad`; the parameters stay."""

    @abstractmethod
    def moves(self) -> dict[str, Tensor]:
        """By what the step moves each parameter, as far as that depends on its size."""

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiply the step sizes of all groups, and the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["searched_lr"] = group["lr"] * factor
        if factor != 1:
            for move in self.moves().values():
                move.mul_(factor)

    def check(self) -> None:
        """Raise an error where the step is not the one that was prepared, or is not of these."""
        known = set(map(id, self.parameters.values()))
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad and id(parameter) not in known:
                    raise ValueError(
                        f"the optimizer has a parameter of shape {tuple(parameter.shape)} that is "
                        f"not one of the model's: build it from the parameters of the same model"
                    )
            expected = group.get("searched_lr", group["lr"])
            if group["lr"] != expected:
                raise RuntimeError(
                    f"lr is searched, but was set from {float(expected):.3g} to "
                    f"{float(group['lr']):.3g} between two steps, as a learning-rate scheduler "
                    f"does: leave it out"
                )


class NesterovCandidates(Candidates):
    r"""Those of `AGD` and `PPRS`: $x(f) = (1 + \mu_t)\, y(f) - \mu_t\, y_t$.

    There $y(f) = x_t - f \eta\, G_t$, and that of the factor that is accepted becomes $y_{t+1}$.
    The step is a part of the optimizer's state, $-\eta\, G_t$ as `move`.
    """

    optimizer: AGD

    def check(self) -> None:
        """As of all candidates; also while evaluating."""
        super().check()
        self.optimizer.check_ready()

    @property
    def pending(self) -> bool:
        """Whether there is such a step."""
        return any("pending_momentum" in group for group in self.optimizer.param_groups)

    def centre(self, factor: float) -> dict[str, Tensor]:
        """What the parameters would be."""
        centre = {name: parameter.detach() for name, parameter in self.parameters.items()}
        for name, group, state in self._moving():
            ahead = torch.add(centre[name], state["move"].to(centre[name]), alpha=factor)
            y = state["y"].to(ahead)  # exactly this where the momentum is -1
            centre[name] = torch.add(y, ahead - y, alpha=1 + group["pending_momentum"])
        return centre

    def accept(self, factor: float, before: Centre) -> None:
        """Make this multiple the step size."""
        for name, _, state in self._moving():
            state["y"] = torch.add(before[name], state["move"], alpha=factor)
        self.drop()
        self.rescale(factor)

    def drop(self) -> None:
        """Forget the step."""
        for kept in (*self.optimizer.param_groups, *self.optimizer.state.values()):
            kept.pop("pending_momentum", None)
            kept.pop("move", None)

    def prepare(self) -> None:
        """Make the next step."""
        for group in self.optimizer.param_groups:
            group["pending_momentum"] = advance(group)
            some = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter, gradient in zip(some, self.optimizer.gradients(some), strict=True):
                self.optimizer.y(parameter)
                self.optimizer.state[parameter]["move"] = gradient * -group["lr"]
        self.rescale(1.0)

    def moves(self) -> dict[str, Tensor]:
        """By what the step moves each parameter."""
        return {name: state["move"] for name, _, state in self._moving()}

    def _moving(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Of each parameter with a step: its name, group and state."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                state = self.optimizer.state.get(parameter, {})
                if "move" in state and id(parameter) in names:
                    yield names[id(parameter)], group, state


class Centres(Sequence[Centre]):
    """The centres of candidates, made when they are asked for, of which it keeps the last one.

    Args:
        candidates: of a step.
        factors: of the step size, one for each.
    """

    def __init__(self, candidates: Candidates, factors: Sequence[float]) -> None:
        self._candidates, self._factors = candidates, factors
        self._last: tuple[int, Centre] | None = None

    def __len__(self) -> int:
        return len(self._factors)

    @overload
    def __getitem__(self, number: int) -> Centre: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Centre]: ...
    @torch.no_grad()
    def __getitem__(self, number: int | slice) -> Centre | Sequence[Centre]:
        if isinstance(number, slice):
            return Centres(self._candidates, self._factors[number])
        if self._last is None or self._last[0] != number:
            self._last = None  # one at a time
            self._last = number, self._candidates.centre(self._factors[number])
        return self._last[1]
