"""The noise is what was asked in every precision, for rows of every size, however alike."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import pprs
from pprs.smoothing import (
    Noise,
    Perturbation,
    Role,
    _gram,
    _linear,
    at_perturbed,
    force_way,
)
from pprs.smoothing.native import kernels

STREAMS = 2


class Coarse(TorchDispatchMode):
    """Products of float32 keep 8 bits of their operands, as TF32 and bfloat16 settings do."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        def coarse(x):
            return x.bfloat16().float() if x.dtype == torch.float32 else x

        added = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1, "baddbmm_": 1}
        first = added.get(func.overloadpacket.__name__, len(args))
        rounded = tree_map_only(torch.Tensor, coarse, args[first:])
        return func(*args[:first], *rounded, **(kwargs or {}))


class Source:
    """Draws of one parameter, the same numbers in every type."""

    def __init__(self, wide):
        self.noise, self.wide = Noise(0, 0), wide

    def normals(self, role, *shape, like):
        drawn = self.noise.normals("w", role, (STREAMS, *shape), self.wide, like.device)
        return drawn.to(like.dtype)

    @property
    def key(self):
        return self.noise.key("w")


def different(n, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(STREAMS, n, width, dtype=torch.float64, generator=generator)


def twice(n, width):
    return torch.cat([different(n, width)[:, : n // 2]] * 2, 1)


def padded(n, width):
    return torch.cat([different(n // 2, width), torch.zeros(STREAMS, n // 2, width)], 1)


def collinear(n, width):
    return different(1, width) * torch.linspace(-2, 3, n)[:, None]


def extreme(n, width):
    rows = different(n, width)
    rows[:, 0] *= 1e30
    rows[:, -1] *= 1e-30
    return rows


KINDS = [different, twice, padded, collinear, extreme]
# How small whole inputs may be: squares underflow, and in float32 the numbers nearly do.
TINY = {torch.float64: 1e-160, torch.float32: 1e-37, torch.bfloat16: 1e-37, torch.float16: 1.0}
TYPES = list(TINY)


def reference(rows, left, signs, normals, source):
    """D X given S in float64, written with the whole root and whole inverse."""
    wide = [x.double() * (1 if s is None else s) for x, s in zip((rows, left), signs, strict=True)]
    units, lengths, roots = [], [], []
    for x in wide:
        peak = x.abs().amax(-1, keepdim=True).clamp_min(1e-300)
        norm = (x / peak).norm(dim=-1, keepdim=True)
        units.append(x / peak / norm.clamp_min(1e-300))
        lengths.append(norm * peak)
        jitter = 1e-10 if x.shape[1] > 1 else 0.0
        diagonal = (jitter + (norm == 0).double()).mT * torch.eye(x.shape[1])
        roots.append(torch.linalg.cholesky(units[-1] @ units[-1].mT + diagonal))
    shape, n = (left.shape[1], rows.shape[2]), rows.shape[1]
    free = source.normals(Role.BACKWARD, *shape, like=wide[1])
    extra = source.normals(Role.RESIDUAL, left.shape[1], n, like=wide[1])
    root, spread = roots[1] * lengths[1], 1e-5 if n > 1 else 0.0
    guessed = root @ (free @ units[0].mT + spread * extra)
    told = wide[1] @ normals.double().mT - guessed @ torch.linalg.inv(roots[0]).mT
    return root @ free + told @ torch.linalg.inv(roots[0]) @ units[0]


def product(dtype, kind, n, *, tiny=1.0, pairs=False, shared=False):
    """What comes back, and what should, for gradients of size 1."""
    rows = (kind(n, 24) * tiny).to(dtype)[: 1 if shared else None]
    left = (different(n, 20, seed=1)).to(dtype)
    normals = different(n, 20, seed=2).to(dtype)
    signs = torch.ones(n, 1).double() if pairs else None
    if signs is not None:
        signs[n // 2 :] = -1
    source = Source(torch.float64 if dtype == torch.float64 else torch.float32)
    known = _gram.Known(rows, signs, _gram.factor(rows, signs), normals)
    expected = reference(rows, left, (signs, signs), normals, source)
    return known.product(left, signs, source).double(), expected


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_rows_and_no_precision_blow_up_the_noise_on_the_way_back(
    monkeypatch, kind, dtype, native
):
    if kind is extreme and dtype == torch.float16:
        pytest.skip("float16 has no such range")
    if not native:
        monkeypatch.setattr(kernels, "takes", lambda rows: False)
    exact = 1e-8 if dtype == torch.float64 else 1e-5
    settings = [dict(), dict(tiny=TINY[dtype]), dict(pairs=True), dict(shared=True)]
    for n in (2, 8, 40):
        for setting in settings:
            found, expected = product(dtype, kind, n, **setting)
            torch.testing.assert_close(found, expected, rtol=0, atol=exact * 10)
        with Coarse():
            found, expected = product(dtype, kind, n)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.3)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("kind", [twice, padded, collinear], ids=lambda kind: kind.__name__)
def test_a_completed_x_gives_the_noise_that_was_seen(kind, dtype):
    for n, coarse in ((8, False), (8, True), (40, False)):
        rows, normals = kind(n, 48).to(dtype), different(n, 20, seed=1).to(dtype)
        factor = _gram.factor(rows)
        known = _gram.Known(rows, None, factor, normals)
        free = torch.randn(STREAMS, 20, 48, generator=torch.Generator().manual_seed(2)).to(dtype)
        if coarse:
            with Coarse():
                x = known.complete(free, torch.zeros_like(normals))
        else:
            x = known.complete(free, torch.zeros_like(normals))
        seen = rows.double() @ x.double().mT
        noise = factor.lower @ normals.double()
        half = dtype.itemsize == 2 or coarse
        tolerance = (0.1 if half else 1e-4) * rows.double().norm(dim=-1).max().item()
        torch.testing.assert_close(seen, noise, rtol=0, atol=tolerance)


def variance(model, x, cast, way, seed, *, count=400, **law):
    """The variance of the gradients of the inputs, over perturbations."""
    perturbation, parameters = Perturbation(0.05, count, **law), dict(model.named_parameters())
    samples, sigmas = perturbation.samples_of(count, 1), perturbation.sigmas(parameters, 0)
    targets = perturbation.targets(parameters, sigmas, Noise(seed, 0), samples)
    given = x.expand(count, *x.shape).clone().requires_grad_()

    def loss(rows):
        with torch.autocast("cpu", dtype=cast or torch.bfloat16, enabled=cast is not None):
            return model(rows).float().square().mean()

    with force_way(way):
        result = at_perturbed(loss, targets, samples, given)
        # As scripts do that call backward() inside the block: nothing of ours may be cast there.
        with torch.autocast("cpu", dtype=cast or torch.bfloat16, enabled=cast is not None):
            (grads,) = torch.autograd.grad(result.sum(), given)
    return grads.double().flatten(1).var(0).sum().item()


class InOut(nn.Module):
    """A weight of shape (in, out), used twice."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width) / width**0.5)

    def forward(self, x):
        return torch.relu(x @ self.weight) @ self.weight


@pytest.mark.parametrize("law", [dict(), dict(antithetic=True, scale="filter")], ids=str)
@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16], ids=str)
def test_the_variance_under_autocast_is_that_of_formed_noise(cast, law):
    """Ratios of variances of 400 gradients lie within 1 +- 0.5: false alarms below 1e-4, where
    low precision in the wrong place makes them 1000 and more."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), InOut(16), nn.Linear(16, 4))
    for rows in (torch.randn(1, 12).repeat(6, 1), torch.cat([torch.randn(3, 12)] * 2)):
        formed = variance(model, rows, cast, "materialised", 1, **law)
        assert variance(model, rows, cast, "implicit", 2, **law) / formed == pytest.approx(
            1, abs=0.5
        )


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_filters_of_any_size_are_perturbed_in_proportion(size):
    def loss(size, dtype):
        torch.manual_seed(0)
        model = nn.Linear(6, 5, bias=False).to(dtype)
        with torch.no_grad():
            model.weight.mul_(size)
        x = torch.ones(3, 6, dtype=dtype)
        loss = pprs.smooth(lambda: (model(x) / size).square().mean(), model, seed=0, step=0)
        return loss.item()

    assert loss(size, torch.float32) == pytest.approx(loss(1.0, torch.float32), rel=1e-5)
    assert loss(size**7, torch.float64) == pytest.approx(loss(1.0, torch.float64), rel=1e-9)


def test_inputs_that_all_samples_share_get_the_sum_of_the_samples_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2)).double()
    x = torch.randn(4, 6).double()
    law, parameters = Perturbation(0.3, 5), dict(model.named_parameters())
    samples = law.samples_of(5, 1)

    def gradient(function, given, *inputs):
        targets = law.targets(parameters, law.sigmas(parameters, 0), Noise(1, 0), samples)
        result = at_perturbed(
            lambda *rows: function(*rows).pow(3).mean(), targets, samples, *inputs
        )
        return torch.autograd.grad(result.sum(), given)[0]

    shared, spread = x.clone().requires_grad_(), x.expand(5, 4, 6).clone().requires_grad_()
    for way in ("implicit", "materialised"):
        with force_way(way):
            found = gradient(lambda: model(shared), shared)
            torch.testing.assert_close(found, gradient(model, spread, spread).sum(0))


def test_the_draws_do_not_depend_on_what_is_recorded_nor_on_settings():
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256))
    filters = nn.Sequential(nn.Conv2d(4, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2))
    for model, x in ((wide, torch.randn(8, 256)), (filters, torch.randn(2, 4, 9, 9))):
        frozen = {"": 0.1, "0": 0.0}  # a first layer that is not perturbed gives shared inputs
        for law in (dict(sigma=0.1), dict(sigma=frozen, antithetic=True), dict(noise="example")):

            def loss(x=x, model=model, law=law):
                given = dict(samples=4, batch=(x,), seed=0, step=0)
                return pprs.smooth(lambda x: model(x).square().mean(), model, **given, **law)

            recorded = loss()
            recorded.backward()
            recorded = recorded.detach()
            with torch.no_grad():
                torch.testing.assert_close(loss(), recorded)
            with torch.inference_mode():
                torch.testing.assert_close(loss(), recorded)
            torch.testing.assert_close(loss(x.clone().requires_grad_()).detach(), recorded)
            default, threads = torch.get_default_dtype(), torch.get_num_threads()
            try:
                torch.set_default_dtype(torch.float64)
                torch.set_num_threads(2 if threads == 1 else 1)
                torch.testing.assert_close(loss().detach(), recorded)
            finally:
                torch.set_default_dtype(default)
                torch.set_num_threads(threads)


def test_backward_inside_autocast_keeps_the_types_of_the_pass(monkeypatch):
    seen = []
    kept = _linear._input_gradient

    def watched(*args):
        seen.append(torch.is_autocast_enabled(args[0].device.type))
        return kept(*args)

    monkeypatch.setattr(_linear, "_input_gradient", watched)
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    with force_way("implicit"):
        loss = pprs.smooth(lambda: model(torch.ones(2, 64)).sum(), model, sigma=0.1, seed=0)
    with torch.autocast(loss.device.type, dtype=torch.bfloat16):
        loss.backward()
    assert seen == [False]
