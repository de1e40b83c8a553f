"""Factors of Gram matrices and the conditional products: their algebra, compiled and not."""

import pytest
import torch

from pprs.smoothing import _compiled, _gram, compiled

needs_compiler = pytest.mark.skipif(not compiled(), reason="there is no C compiler here")


def rows(streams, n, width, dtype, *, zeros=True):
    x = torch.randn(streams, n, width, dtype=dtype, generator=torch.Generator().manual_seed(n))
    if n > 2 and zeros:
        x[:, 1], x[0, 2] = x[:, 0], 0.0  # duplicates, a zero row
    return x


def alternating(n, pairs):
    return torch.tensor([1.0, -1.0] * n)[:n, None].double() if pairs else None


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [1, 2, 7, 32, 40])
def test_a_factor_is_a_root_of_the_gram_matrix_and_has_its_inverse(n, dtype, pairs):
    x, signs = rows(3, n, 50, dtype), alternating(n, pairs)
    for given in (x, x.mT.contiguous().mT):  # in memory one way or the other
        found = _gram.factor(given, signs)
        wide = x.double() if signs is None else x.double() * signs
        torch.testing.assert_close(
            found.lower @ found.lower.mT, wide @ wide.mT, rtol=1e-8, atol=1e-7
        )
        alive = (wide.norm(dim=2) > 0).double()
        identity = torch.diag_embed(alive)
        torch.testing.assert_close(found.inverse @ found.lower, identity, rtol=0, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("n", "q"), [(1, 1), (2, 4), (7, 7), (5, 1), (32, 32), (9, 31)])
def test_compiled_products_are_torch_s(monkeypatch, n, q, dtype, pairs):
    generator = torch.Generator().manual_seed(0)
    a, d = rows(3, n, 50, dtype, zeros=False), rows(3, q, 20, dtype)
    z, free, residual = (
        torch.randn(shape, generator=generator, dtype=dtype)
        for shape in ((3, n, 20), (3, q, 50), (3, q, n))
    )
    signs, left_signs = alternating(n, pairs), alternating(q, pairs)

    def product():
        known = _gram.Known(a, signs, _gram.factor(a, signs), z)
        return known.product(d, left_signs, lambda rows: (free, residual))

    assert _compiled.takes(a)
    found = product()
    monkeypatch.setattr(_compiled, "takes", lambda rows: False)
    expected = product()
    tolerance = 1e-3 if dtype == torch.float32 else 1e-7
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert (found - free[:, :1]).abs().max() > 0.1


@pytest.mark.parametrize("takes", [True, False])
def test_zero_rows_of_one_have_no_noise(monkeypatch, takes):
    if not takes:
        monkeypatch.setattr(_compiled, "takes", lambda rows: False)
    found = _gram.factor(torch.zeros(2, 1, 5))
    assert not found.lower.any()
    assert not found.inverse.any()
