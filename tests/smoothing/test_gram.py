"""Factors of Gram matrices and the conditional products: their algebra, native and not."""

import pytest
import torch

from pprs.smoothing import (
    Noise,
    Perturbation,
    _gram,
    at_perturbed,
    force_way,
    has_native_kernels,
)
from pprs.smoothing._noise import Streams
from pprs.smoothing.native import kernels

needs_compiler = pytest.mark.skipif(
    not has_native_kernels() or torch.get_default_device().type != "cpu",
    reason="no C compiler, or no CPU",
)


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
        unit = found.inverse @ (found.unit * alive[..., None])
        torch.testing.assert_close(unit, identity, rtol=0, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("n", "q"), [(1, 1), (2, 4), (7, 7), (5, 1), (32, 32), (9, 31)])
def test_native_products_are_torch_s(monkeypatch, n, q, dtype, pairs):
    a, d = rows(3, n, 50, dtype, zeros=False), rows(3, q, 20, dtype)
    z = torch.randn((3, n, 20), generator=torch.Generator().manual_seed(0), dtype=dtype)
    signs, left_signs = alternating(n, pairs), alternating(q, pairs)
    source = Streams(Noise(0, 0), "w", 3)

    def product():
        known = _gram.Known(a, signs, _gram.factor(a, signs), z)
        return known.product(d, left_signs, source)

    assert kernels.takes(a)
    found = product()
    monkeypatch.setattr(kernels, "takes", lambda rows: False)
    expected = product()
    tolerance = 1e-3 if dtype == torch.float32 else 1e-7
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert found.std() > 0.1


@pytest.mark.parametrize("takes", [True, False])
def test_zero_rows_of_one_have_no_noise(monkeypatch, takes):
    if not takes:
        monkeypatch.setattr(kernels, "takes", lambda rows: False)
    found = _gram.factor(torch.zeros(2, 1, 5))
    assert not found.lower.any()
    assert not found.inverse.any()


@needs_compiler
@pytest.mark.parametrize("options", [dict(), dict(antithetic=True), dict(scale="filter")], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_whole_passes_are_the_same_without_the_kernels(monkeypatch, n, bias, options):
    torch.manual_seed(0)
    layers = torch.nn.Linear(6, 9, bias), torch.nn.ELU(inplace=True), torch.nn.Linear(9, 70, bias)
    model = torch.nn.Sequential(*layers).double()
    x = torch.randn(4, n, 6).double()

    def run():
        law, parameters = Perturbation(0.3, 4, **options), dict(model.named_parameters())
        samples = law.samples_of(4, 1)
        targets = law.targets(parameters, law.sigmas(parameters, 0), Noise(1, 0), samples)
        given = x.clone().requires_grad_()
        with force_way("implicit"):
            result = at_perturbed(lambda row: model(row).pow(3).mean(), targets, samples, given)
        return torch.autograd.grad(result.sum(), [*model.parameters(), given])

    found = run()
    monkeypatch.setattr(kernels, "takes", lambda rows: False)
    for a, b in zip(found, run(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
