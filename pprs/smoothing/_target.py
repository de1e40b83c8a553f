"""The perturbations of one pass: how many, in which pairs, and of which size for each parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from pprs.smoothing._noise import Noise, Role


class Drawn(Protocol):
    """What a use has drawn of a parameter's X, without the rest of it."""

    def complete(self, free: Tensor) -> Tensor:
        """X, from standard normals of its shape ``(streams, *parameter.shape)``."""


@dataclass(frozen=True)
class Lanes:
    r"""The perturbations that run side by side under vmap, and where their noise comes from.

    Args:
        noise: keys the draws.
        count: the number of lanes.
        antithetic: lanes $2j$ and $2j + 1$ are at $\theta + \sigma X_j$ and $\theta - \sigma X_j$.
    """

    noise: Noise
    count: int
    antithetic: bool = False

    @property
    def share(self) -> int:
        """How many lanes read one stream: 2 in antithetic pairs."""
        return 2 if self.antithetic else 1

    @property
    def streams(self) -> int:
        """How many independent X there are."""
        return self.count // self.share

    def signed(self, drawn: Tensor) -> Tensor:
        """What every lane sees of one draw per stream: ``(streams, ...)`` to ``(lanes, ...)``."""
        if not self.antithetic:
            return drawn
        return torch.stack([drawn, -drawn], 1).flatten(0, 1)

    def signs(self, like: Tensor, dimensions: int) -> Tensor:
        """The sign of each lane, shape ``(lanes, 1, ...)``."""
        signs = torch.ones(self.count, dtype=like.dtype, device=like.device)
        if self.antithetic:
            signs[1::2] = -1
        return signs.view(-1, *[1] * (dimensions - 1))


@dataclass(eq=False)
class Target:
    r"""One parameter's share of a pass: its sigma, and what of its noise has been drawn.

    Args:
        name: full name, which keys the noise.
        parameter: $\theta$.
        sigma: standard deviation of its perturbation, above 0.
        filters: whether each of its filters (rows of dimension 0; all of a vector) is perturbed in
            proportion to its norm.
        lanes: the perturbations.
    """

    name: str
    parameter: Tensor
    sigma: float
    filters: bool
    lanes: Lanes
    # An implicit use that came first: what it drew of X, to be completed if X is needed.
    drawn: Drawn | None = field(default=None, init=False)
    touched: bool = field(default=False, init=False)  # parts of X were read from its own stream
    open: bool = field(default=True, init=False)  # the forward pass may still use the parameter
    met: bool = field(default=False, init=False)  # the forward pass has used it
    _stacked: Tensor | None = field(default=None, init=False)

    @cached_property
    def scale(self) -> Tensor | None:
        """Norms of the filters, constant for the gradient: ``(d0, 1, ...)`` or ``()``; or None."""
        if not self.filters:
            return None
        parameter = self.parameter.detach()
        rows = parameter.flatten(1) if parameter.dim() > 1 else parameter.reshape(1, -1)
        norms = _norms(rows)
        return norms.view(-1, *[1] * (parameter.dim() - 1)) if parameter.dim() > 1 else norms[0]

    @property
    def materialised(self) -> bool:
        """Whether the perturbed parameters exist as tensors."""
        return self._stacked is not None

    def stacked(self) -> Tensor:
        r"""The perturbed parameters, shape ``(lanes, *parameter.shape)``, without graph."""
        if self._stacked is None:
            self._stacked = self._perturbed()
            self.drawn = None
        return self._stacked

    @property
    def version(self) -> int:
        """Of the memory of :meth:`stacked`, which grows when it is changed."""
        return self.stacked()._version

    def close(self) -> None:
        """End the forward pass."""
        self.met = self.drawn is not None or self.materialised or self.touched
        self.open, self.drawn = False, None

    def _perturbed(self) -> Tensor:
        parameter, lanes = self.parameter.detach(), self.lanes
        if self.drawn is None and self.scale is None:
            at_once = lanes.noise.perturbed(
                self.name, parameter, self.sigma, lanes.count, lanes.share
            )
            if at_once is not None:
                return at_once
        noise = self._draw()
        if self.scale is not None:
            noise *= self.scale
        return torch.add(parameter, lanes.signed(noise), alpha=self.sigma)

    def at(self, lane: int) -> Tensor:
        """The perturbed parameter of one lane, as in :meth:`stacked`, by itself."""
        parameter, share = self.parameter.detach(), self.lanes.share
        shape, first = (1, *parameter.shape), lane // share
        noise = self.lanes.noise.normals(
            self.name, Role.PARAMETER, shape, parameter.dtype, parameter.device, first=first
        )[0]
        if self.scale is not None:
            noise *= self.scale
        return torch.add(parameter, noise if lane % share == 0 else -noise, alpha=self.sigma)

    def _draw(self) -> Tensor:
        parameter, lanes = self.parameter, self.lanes
        shape = (lanes.streams, *parameter.shape)
        drawn = lanes.noise.normals(
            self.name, Role.PARAMETER, shape, parameter.dtype, parameter.device
        )
        return drawn if self.drawn is None else self.drawn.complete(drawn)

    def rows(self, index: Tensor) -> Tensor:
        """The perturbations, times sigma and scale, of rows ``(lanes, ...)`` of a matrix."""
        self.touched = True
        lanes, width = self.lanes, self.parameter.shape[1]
        noise = lanes.noise.rows(self.name, index, width, self.parameter.dtype, lanes.share)
        if self.scale is not None:
            noise *= self.scale[index, 0, None]
        if lanes.antithetic:
            noise *= lanes.signs(noise, noise.dim())
        return noise.mul_(self.sigma)


def _norms(rows: Tensor) -> Tensor:
    """Of rows ``(n, i)`` of any size, whose squares may be out of range."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    limit = 1e140 if rows.dtype == torch.float64 else 1e15
    # Not asked of other devices, which would have to be waited for.
    if not rows.numel() or (
        rows.device.type == "cpu" and bool(((norms > 1 / limit) & (norms < limit)).all())
    ):
        return norms
    peak = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    norms = torch.linalg.vector_norm(rows / peak, dim=1)
    return norms * peak[:, 0]
