"""One parameter in one pass: its sigma, and how much of its noise has been drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import torch
from torch import Tensor

from pprs.smoothing._autocast import without_autocast
from pprs.smoothing._gram import Known
from pprs.smoothing._noise import Noise, Role, Streams
from pprs.smoothing._sharing import Samples
from pprs.smoothing._together import Together, filters, per_filter
from pprs.smoothing.native.kernels import Bias, has_native_kernels
from pprs.smoothing.native.recording import is_recorded

# Numbers: 32 MB in float32, which a GPU draws in less time than it takes to start the kernel. On a
# CPU so much memory would come from the system anew in each pass, which takes as long as drawing.
_LARGE = 1 << 23
# Numbers that a CPU draws and multiplies while they are in its cache.
_PART = 1 << 21


class Drawn(StrEnum):
    """How much of a parameter's X a pass has drawn."""

    NOTHING = "nothing"
    ROWS = "some rows"
    PRODUCT = "one product"
    WHOLE = "the whole"


_NEXT = {
    Drawn.NOTHING: {Drawn.ROWS, Drawn.PRODUCT, Drawn.WHOLE},
    Drawn.ROWS: {Drawn.ROWS, Drawn.WHOLE},
    Drawn.PRODUCT: {Drawn.WHOLE},
    Drawn.WHOLE: {Drawn.WHOLE},
}


@dataclass(eq=False)
class Target:
    r"""One parameter in one pass.

    X is drawn by and by, and whatever is drawn later must agree with what was drawn before.
    `drawn` says how much there is, and these are the only ways on:

    =============  ===========  =====================  ==============  =============
    from           by `rows`    by `draw_product`      by `stacked`    by `close`
    =============  ===========  =====================  ==============  =============
    NOTHING        ROWS         PRODUCT                WHOLE           closed
    ROWS           ROWS         raises                 WHOLE           closed
    PRODUCT        raises       raises                 WHOLE           closed
    WHOLE          raises       raises                 WHOLE           closed, whole
    closed         raises       raises                 raises          raises
    closed, whole  raises       raises                 closed, whole   raises
    =============  ===========  =====================  ==============  =============

    NOTHING: the parameter was not used. ROWS: rows of X were read from the parameter's own stream,
    which goes on to give the rest. PRODUCT: a linear map of inputs A drew $A X^T$ without X, which
    is completed to X if that is needed after all, but not as a second product. WHOLE: the perturbed
    parameters are tensors. Once the forward pass is closed, what a product knew of X is forgotten:
    the backward pass of its linear map has it, and nobody else may draw any more.

    Args:
        name: full name, which keys the noise.
        parameter: $\theta$.
        sigma: standard deviation of its perturbation, above 0.
        filters: whether each of its filters (rows of dimension 0; all of a vector) is perturbed in
            proportion to its norm.
        noise: of the pass.
        samples: of X.
        reused: whether other passes use it, too, at the same X: it begins as after `rows`, since
            they do not know what a product has drawn here.
    """

    name: str
    parameter: Tensor
    sigma: float
    filters: bool
    noise: Noise
    samples: Samples
    reused: bool = False
    together: Together | None = field(default=None, init=False)
    _drawn: Drawn = field(default=Drawn.NOTHING, init=False)
    _open: bool = field(default=True, init=False)
    _product: tuple[Known, bool] | None = field(default=None, init=False)
    _stacked: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.reused:
            self._drawn = Drawn.ROWS

    @cached_property
    def norms(self) -> Tensor | None:
        """Those of its filters, one after the other, constant for the gradient; or None."""
        return _norms(filters(self.parameter)) if self.filters else None

    def give_norms(self, norms: Tensor) -> None:
        """Those of its filters, as another has computed them."""
        self.norms = norms

    @cached_property
    def scale(self) -> Tensor | None:
        """The norms, shaped to multiply the parameter: `(d0, 1, ...)` or `()`; or None."""
        return None if self.norms is None else per_filter(self.norms, self.parameter)

    @cached_property
    def streams(self) -> Streams:
        """Where its noise comes from."""
        return Streams(self.noise, self.name, self.samples.streams)

    @property
    def drawn(self) -> Drawn:
        """How much of X has been drawn; of a closed one, what had been."""
        return self._drawn

    @property
    def is_whole(self) -> bool:
        """Whether all of X has been drawn."""
        return self._drawn is Drawn.WHOLE

    def may_draw(self, what: Drawn) -> bool:
        """Whether there is a way on to this, by the table above."""
        if self._open:
            return what in _NEXT[self._drawn]
        return what is self._drawn is Drawn.WHOLE

    def rows(self, index: Tensor) -> Tensor:
        """The perturbations, times sigma and scale, of rows `(samples, ...)` of a matrix."""
        self._advance(Drawn.ROWS)
        samples, width = self.samples, self.parameter.shape[1]
        noise = self.noise.rows(self.name, index, width, self.parameter.dtype, samples.share)
        if self.scale is not None:
            noise *= self.scale[index, 0, None]
        if samples.antithetic:
            noise *= samples.signs(noise, noise.dim())
        return noise.mul_(self.sigma)

    def draw_product(self, known: Known, transposed: bool) -> None:
        """Note what the first use, as the weight of a linear map, has drawn of X.

        Args:
            known: about X, a matrix with a row for each of the map's outputs.
            transposed: whether the parameter has a column for each of them instead.
        """
        self._advance(Drawn.PRODUCT)
        self._product = known, transposed

    def stacked(self) -> Tensor:
        r"""The perturbed parameters, shape `(samples, *parameter.shape)`, without graph."""
        if self._stacked is None:
            self._advance(Drawn.WHOLE)
            self._stacked = self._perturbed()
            self._product = None
        return self._stacked

    def weights(self, dtype: torch.dtype) -> Tensor:
        """`stacked` in a type; large ones on a CUDA device are drawn at each call, and not kept."""
        if self.parameter.is_cuda and self._is_large:
            self._advance(Drawn.WHOLE)
            return self._perturbed(dtype).to(dtype)
        stacked = self.stacked()
        return stacked if stacked.dtype == dtype else stacked.to(dtype)

    def parts(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """`weights` of some samples, and of the next; a CPU draws large ones at each call, too.

        Yields:
            Which samples, and their weights, shape `(samples of the part, *parameter.shape)`.
        """
        if not self.is_in_parts:
            yield slice(None), self.weights(dtype)
            return
        self._advance(Drawn.WHOLE)
        share, count = self.samples.share, self.samples.count
        size = share * max(1, _PART // (share * self.parameter.numel()))
        for first in range(0, count, size):
            part = slice(first, min(first + size, count))
            drawn = self._drawn_at_once(None, part.stop - first, first // share)
            assert drawn is not None
            yield part, drawn.to(dtype)

    @property
    def is_in_parts(self) -> bool:
        """Whether `parts` gives more than one."""
        at_once = self.parameter.dtype in {torch.float32, torch.float64} and has_native_kernels()
        return self._is_large and at_once and not self.parameter.is_cuda

    def drawn_inside(self, dtype: torch.dtype) -> Bias | None:
        """For a kernel that perturbs it where it is added: draws what `stacked` does.

        Returns:
            `None` where `stacked` must be taken: it is there, or of another type than the sum.
        """
        other = self.parameter.dtype != dtype and not self.parameter.is_cuda
        if other or self._stacked is not None or self._product is not None:
            return None
        self._advance(Drawn.WHOLE)
        value, share = self.parameter.detach(), self.samples.share
        return Bias(value, self.streams.key, self.sigma, self.norms, Role.PARAMETER, share)

    def close(self) -> None:
        """End the forward pass."""
        if not self._open:
            self._refuse("closed")
        self._open, self._product, self.together = False, None, None

    def at(self, sample: int) -> Tensor:
        """The perturbed parameter of one sample, as in `stacked`, by itself; draws anew."""
        parameter, share = self.parameter.detach(), self.samples.share
        shape, first = (1, *parameter.shape), sample // share
        noise = self.noise.normals(
            self.name, Role.PARAMETER, shape, parameter.dtype, parameter.device, first=first
        )[0]
        if self.scale is not None:
            noise *= self.scale
        return torch.add(parameter, noise if sample % share == 0 else -noise, alpha=self.sigma)

    @property
    def _is_large(self) -> bool:
        """Whether it is rather drawn again than kept, where nothing has drawn it yet."""
        undrawn = self._stacked is None and self._product is None
        return undrawn and self.parameter.numel() * self.samples.count > _LARGE

    @property
    def version(self) -> int:
        """The version of the memory of `stacked`, which grows when it is changed."""
        return self.stacked()._version

    def _advance(self, what: Drawn) -> None:
        if not self.may_draw(what):
            self._refuse(f"asked for {what.value} of its X")
        self._drawn = what

    def _refuse(self, asked: str) -> None:
        when = "" if self._open else ", and the pass is over"
        raise RuntimeError(
            f"parameter {self.name!r} was {asked}, when {self._drawn.value} of it had been drawn"
            f"{when}: please report how it came to this"
        )

    def _perturbed(self, dtype: torch.dtype | None = None) -> Tensor:
        if self.together is not None and self._product is None:
            drawn = self.together.drawn(self)
            if drawn is not None:
                return drawn
        parameter, samples = self.parameter.detach(), self.samples
        if self._product is None:
            at_once = self._drawn_at_once(dtype, samples.count)
            if at_once is not None:
                return at_once
        noise = self.streams.normals(Role.PARAMETER, *parameter.shape, like=parameter)
        if self._product is not None:
            noise = self._completed(noise, *self._product)
        if self.scale is not None:
            noise *= self.scale
        return torch.add(parameter, samples.signed(noise), alpha=self.sigma)

    def _drawn_at_once(
        self, dtype: torch.dtype | None, samples: int, first: int = 0
    ) -> Tensor | None:
        parameter, share = self.parameter.detach(), self.samples.share
        return self.noise.perturbed(
            self.name, parameter, self.sigma, samples, share, self.norms, dtype, first
        )

    def _completed(self, free: Tensor, known: Known, transposed: bool) -> Tensor:
        normals = known.normals
        residual = self.streams.normals(Role.RESIDUAL, *normals.shape[1:], like=normals)
        matrix = free.flatten(2)  # a convolution's filters are rows
        with without_autocast(free.device):
            completed = known.complete(matrix.mT if transposed else matrix, residual)
        return (completed.mT if transposed else completed).reshape(free.shape)


def _norms(rows: Tensor) -> Tensor:
    """The norms of rows `(n, i)` of any size, whose squares may be out of range."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    limit = 1e140 if rows.dtype == torch.float64 else 1e15
    # Not asked of other devices, which would have to be waited for.
    cpu = rows.device.type == "cpu"
    usual = ((norms > 1 / limit) & (norms < limit)).all() if cpu else None
    asked = usual is not None and not is_recorded()
    if not rows.numel() or (asked and bool(usual)):
        return norms
    range_ = torch.finfo(rows.dtype)
    peak = rows.abs().amax(1, keepdim=True).clamp(range_.tiny, range_.max)
    scaled = torch.linalg.vector_norm(rows / peak, dim=1) * peak[:, 0]
    return scaled if usual is None or asked else torch.where(usual, norms, scaled)
