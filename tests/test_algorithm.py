"""PPRS against Algorithm 1 written out literally."""

import math
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.smoothing import Noise, Role, force_way

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def parameter_draws(noise, name, p, samples):
    return noise.normals(name, Role.PARAMETER, (samples, *p.shape), p.dtype, p.device)


def literal(model, steps, lr, momentum, sigma, samples, seed):
    """Algorithm 1 with the library's noise, every perturbation run on a copy of the model."""
    y, lam = {n: p.detach().clone() for n, p in model.named_parameters()}, 0.0
    x = {n: p.clone() for n, p in y.items()}
    for t in range(steps):
        draws = {n: parameter_draws(Noise(seed, t), n, p, samples) for n, p in x.items()}
        total = {n: torch.zeros_like(p) for n, p in x.items()}
        for k in range(samples):
            copy = deepcopy(model)
            for n, p in copy.named_parameters():
                p.data = x[n] + sigma * draws[n][k]
            grads = torch.autograd.grad(F.cross_entropy(copy(X), Y), list(copy.parameters()))
            for n, g in zip(total, grads, strict=True):
                total[n] += g / samples
        following = (1 + math.sqrt(1 + 4 * lam**2)) / 2
        mu, lam = ((lam - 1) / following if momentum == "nesterov" else momentum), following
        new = {n: x[n] - lr * total[n] for n in x}
        x, y = {n: (1 + mu) * new[n] - mu * y[n] for n in x}, new
    return x, y


@pytest.mark.parametrize("momentum", [0.0, 0.9, "nesterov"])
def test_pprs_is_algorithm_1(momentum):
    model = net()
    x, y = literal(deepcopy(model), 6, 0.3, momentum, 0.1, 5, seed=7)
    optimizer = pprs.PPRS(model, lr=0.3, momentum=momentum, sigma=0.1, samples=5, seed=7)
    with force_way("materialised"):  # the very noise that the literal algorithm draws
        for _ in range(6):
            optimizer.step(lambda: F.cross_entropy(model(X), Y))
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), x[name], rtol=1e-10, atol=1e-12)
    with optimizer.evaluating():
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.detach(), y[name], rtol=1e-10, atol=1e-12)


def test_smooth_followed_by_agd_is_pprs():
    a, b = net(), net()
    whole = pprs.PPRS(a, lr=0.2, sigma=0.05, samples=4, seed=3)
    agd = pprs.AGD(b.parameters(), lr=0.2, momentum=0.9)
    for _ in range(4):
        whole.step(lambda: F.cross_entropy(a(X), Y))
        agd.zero_grad()
        pprs.smooth(lambda: F.cross_entropy(b(X), Y), b, 0.05, 4, seed=3).backward()
        agd.step()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)
