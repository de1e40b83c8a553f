r"""Parts of a Gaussian matrix, sampled from what is known of it, without the matrix.

X stands for a matrix $(o, i)$ of independent standard normals. For rows A $(n, i)$ the products
$S = A X^T$ $(n, o)$ have covariance $G = A A^T$ over the rows, independently for each column; for
rows D $(q, o)$ $D X$ given S follows from Matheron's rule. docs/sampler.md derives both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pprs.smoothing import _compiled
from pprs.smoothing._noise import Role

# Added to the Gram matrix of rows scaled to unit length, which may be singular (duplicates, more
# rows than columns): the forward noise gains a variance of this fraction, which the way back knows.
_JITTER = 1e-10


@dataclass(frozen=True)
class Factor:
    """A root of the Gram matrix of rows, in float64.

    Args:
        lower: L with $L L^T = G$, shape ``(..., n, n)``.
        inverse: of L, with 0 for rows that are 0, shape ``(..., n, n)``.
        jitter: standard deviation of what the jitter added to each row's noise, ``(..., n, 1)``.
    """

    lower: Tensor
    inverse: Tensor
    jitter: Tensor


def jitter_of(rows: Tensor) -> float:
    """What is added to the diagonal of the rows' scaled Gram matrices; one row needs nothing."""
    return _JITTER if rows.shape[-2] > 1 else 0.0


def factor(rows: Tensor, signs: Tensor | None = None) -> Factor:
    """Factorise the Gram matrices of ``rows * signs``.

    Args:
        rows: shape ``(streams, n, i)``, any real floating-point type.
        signs: 1 or -1 for each row, shape ``(n, 1)``, float64; all 1 by default.
    """
    jitter = jitter_of(rows)
    if _compiled.takes(rows):
        lower, inverse, lengths = _compiled.factor(rows, signs, jitter)
        return Factor(lower, inverse, lengths * math.sqrt(jitter))
    wide = rows.double()
    gram = wide @ wide.mT
    lengths = gram.diagonal(dim1=-2, dim2=-1).sqrt().unsqueeze(-1)
    shrink = torch.where(lengths > 0, 1 / lengths, 0.0)
    scaling = shrink if signs is None else shrink * signs
    gram *= scaling
    gram *= scaling.mT
    gram.diagonal(dim1=-2, dim2=-1).add_(jitter + (lengths == 0)[..., 0].double())
    unit = torch.linalg.cholesky_ex(gram).L
    inverse = torch.linalg.solve_triangular(unit, torch.diag_embed(shrink[..., 0]), upper=False)
    return Factor(unit * lengths, inverse, lengths * math.sqrt(jitter))


class Source(Protocol):
    """Where the normals of one parameter come from."""

    def normals(self, role: Role, *shape: int, like: Tensor) -> Tensor:
        """Draws of shape ``(streams, *shape)``."""

    def drawing(self, jitter: float) -> _compiled.Drawing:
        """The same for a kernel on the way back."""


@dataclass(frozen=True)
class Known:
    r"""The noise $S = A X^T$ that independent matrices X gave to rows A, and what follows from it.

    Args:
        rows: A, shape ``(streams, n, i)``, or ``(1, n, i)`` where all X meet the same rows.
        signs: of the rows, shape ``(n, 1)``, float64, or ``None``: X met ``signs * A``.
        factor: of the signed rows.
        normals: Z with $S = L Z$, shape ``(streams, n, o)``.
    """

    rows: Tensor
    signs: Tensor | None
    factor: Factor
    normals: Tensor

    def product(self, left: Tensor, signs: Tensor | None, source: Source) -> Tensor:
        r"""Sample $D X$ given S.

        Args:
            left: D, shape ``(streams, q, o)``.
            signs: of its rows, as for A; then the result is that of ``signs * D``.
            source: where normals come from.

        Returns:
            Shape ``(streams, q, i)``.
        """
        few = _compiled.takes(left) and _compiled.takes(self.rows) and len(self.rows) > 1
        if few and left.dtype == self.rows.dtype:
            inverse, jitter = self.factor.inverse, self.factor.jitter
            known = (self.rows, self.signs, inverse, jitter, self.normals)
            return _compiled.backward(left, signs, known, source.drawing(jitter_of(left)))
        q, (n, i) = left.shape[1], self.rows.shape[1:]
        free = source.normals(Role.BACKWARD, q, i, like=left)
        residual = source.normals(Role.RESIDUAL, q, n, like=left)
        root = factor(left, signs).lower
        # P = M U is a sample of D X that knows nothing of S; P A^T is what it would have given.
        guessed = (free @ self.rows.mT).double()
        told = (left @ self.normals.mT).double()
        if self.signs is not None:
            guessed *= self.signs.mT
        if signs is not None:
            told *= signs
        guessed += residual * self.factor.jitter.mT
        weights = (told - (root @ guessed) @ self.factor.inverse.mT) @ self.factor.inverse
        if self.signs is not None:
            weights *= self.signs.mT
        product = root.to(left.dtype) @ free
        if len(self.rows) == 1:
            return product.add_(weights.to(left.dtype) @ self.rows)
        return product.baddbmm_(weights.to(left.dtype), self.rows)

    def complete(self, free: Tensor, residual: Tensor) -> Tensor:
        r"""Sample X given S.

        Args:
            free: standard normals, shape ``(streams, o, i)``.
            residual: standard normals, shape ``(streams, n, o)``.
        """
        signed = self.rows if self.signs is None else self.rows * self.signs.to(self.rows.dtype)
        inverse = self.factor.inverse
        guessed = (signed @ free.mT).double() + residual * self.factor.jitter
        weights = inverse.mT @ (self.normals - inverse @ guessed)
        return free + weights.mT.to(free.dtype) @ signed
