r"""Parts of a Gaussian matrix, sampled from what is known of it, without the matrix.

X stands for a matrix $(o, i)$ of independent standard normals. For rows A $(n, i)$ the products
$S = A X^T$ $(n, o)$ have covariance $G = A A^T$ over the rows, independently for each column; for
rows D $(q, o)$ $D X$ given S follows from Matheron's rule. docs/sampler.md derives both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pprs.smoothing._noise import Role, Streams
from pprs.smoothing.native import few_rows, kernels
from pprs.smoothing.native.kernels import Drawing

# Added to the Gram matrix of rows scaled to unit length, which may be singular (duplicates, more
# rows than columns): the forward noise gains a variance of this fraction, which the way back knows.
_JITTER = 1e-10


@dataclass(frozen=True)
class Factor:
    r"""A root of the Gram matrix of rows, in float64: $G = \Lambda U U^T \Lambda$.

    Args:
        unit: U, the root of the Gram matrix of the rows scaled to length 1, shape `(..., n, n)`.
        inverse: of U, with 0 for rows that are 0, shape `(..., n, n)`.
        lengths: of the rows, shape `(..., n, 1)`.
    """

    unit: Tensor
    inverse: Tensor
    lengths: Tensor

    @property
    def lower(self) -> Tensor:
        """L with $L L^T = G$, shape `(..., n, n)`."""
        return self.unit * self.lengths


def jitter_of(rows: Tensor) -> float:
    """What is added to the diagonal of the rows' scaled Gram matrices; one row needs nothing."""
    return _JITTER if rows.shape[-2] > 1 else 0.0


def factor(rows: Tensor, signs: Tensor | None = None) -> Factor:
    """Factorise the Gram matrices of `rows * signs`.

    Args:
        rows: shape `(streams, n, i)`, any real floating-point type.
        signs: 1 or -1 for each row, shape `(n, 1)`, float64; all 1 by default.
    """
    if kernels.takes(rows):
        return Factor(*kernels.factor(rows, signs, jitter_of(rows)))
    unit, lengths = _root(rows, signs)
    alive = (lengths > 0).double()
    inverse = torch.linalg.solve_triangular(unit, torch.diag_embed(alive[..., 0]), upper=False)
    return Factor(unit, inverse, lengths)


def _root(rows: Tensor, signs: Tensor | None) -> tuple[Tensor, Tensor]:
    wide, peak = rows.double(), None
    if rows.dtype == torch.float64:  # squares of narrower types are in its range, not its own
        peak = wide.abs().amax(-1, keepdim=True)
        wide = wide * _reciprocal(peak)
    gram = wide @ wide.mT
    lengths = gram.diagonal(dim1=-2, dim2=-1).sqrt().unsqueeze(-1)
    scaling = _reciprocal(lengths) if signs is None else _reciprocal(lengths) * signs
    gram *= scaling
    gram *= scaling.mT
    gram.diagonal(dim1=-2, dim2=-1).add_(jitter_of(rows) + (lengths == 0)[..., 0].double())
    return torch.linalg.cholesky_ex(gram).L, lengths if peak is None else lengths * peak


def _reciprocal(lengths: Tensor) -> Tensor:
    """The reciprocals of lengths; 0 for those that are 0, or too small to have one."""
    return torch.where(lengths >= torch.finfo(lengths.dtype).tiny, 1 / lengths, 0.0)


@dataclass(frozen=True)
class Known:
    r"""The noise $S = A X^T$ that independent matrices X gave to rows A, and what follows from it.

    Args:
        rows: A, shape `(streams, n, i)`, or `(1, n, i)` where all X meet the same rows.
        signs: of the rows, shape `(n, 1)`, float64, or `None`: X met `signs * A`.
        factor: of the signed rows.
        normals: Z with $S = L Z$, shape `(streams, n, o)`.
    """

    rows: Tensor
    signs: Tensor | None
    factor: Factor
    normals: Tensor

    def product(self, left: Tensor, signs: Tensor | None, streams: Streams) -> Tensor:
        r"""Sample $D X$ given S.

        Args:
            left: D, shape `(streams, q, o)`.
            signs: of its rows, as for A; then the result is that of `signs * D`.
            streams: where normals come from.

        Returns:
            Shape `(streams, q, i)`.
        """
        apart = len(self.rows) == len(left) and self.rows.dtype == left.dtype
        if apart and few_rows.takes(left) and few_rows.takes(self.rows):
            known = (self.rows, self.signs, self.factor.inverse, self.factor.lengths, self.normals)
            roles = (Role.BACKWARD, Role.RESIDUAL)
            drawing = Drawing(streams.key, roles, jitter_of(left))
            return few_rows.backward(left, signs, known, math.sqrt(jitter_of(self.rows)), drawing)
        left = left.to(_at_least_single(left))
        q, (n, i) = left.shape[1], self.rows.shape[1:]
        free = streams.normals(Role.BACKWARD, q, i, like=left)
        residual = streams.normals(Role.RESIDUAL, q, n, like=left)
        basis, spread = self._basis(left.dtype)
        observed = left @ self.normals.to(left.dtype).mT
        if signs is not None:
            observed *= signs.to(left.dtype)
        unit, lengths = _root(left, signs)
        root = (unit * lengths).to(left.dtype)
        # P = M U is a sample of D X that knows nothing of S; P Q^T is what it predicts of S.
        predicted = root @ (free @ basis.mT + residual @ spread.mT)
        weights = observed - predicted
        product = root @ free
        if len(self.rows) == 1:
            return product.add_(weights @ basis)
        return product.baddbmm_(weights, basis)

    def complete(self, free: Tensor, residual: Tensor) -> Tensor:
        r"""Sample X given S.

        Args:
            free: standard normals, shape `(streams, o, i)`.
            residual: standard normals, shape `(streams, n, o)`.
        """
        dtype = _at_least_single(free)
        basis, spread = self._basis(dtype)
        wide = free.to(dtype)
        missing = self.normals.to(dtype) - basis @ wide.mT - spread @ residual.to(dtype)
        return (wide + missing.mT @ basis).to(free.dtype)

    def _basis(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        r"""$Q = L^{-1} (A, \sqrt\varepsilon \Lambda)$, whose rows are orthonormal, in two parts.

        All that is large in the inverse, and cancels, does so here, in float64: products with Q
        need no more precision than others.
        """
        inverse, lengths = self.factor.inverse, self.factor.lengths
        scaling = _reciprocal(lengths) if self.signs is None else _reciprocal(lengths) * self.signs
        spread = inverse * math.sqrt(jitter_of(self.rows))
        return ((inverse * scaling.mT) @ self.rows.double()).to(dtype), spread.to(dtype)


def _at_least_single(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
