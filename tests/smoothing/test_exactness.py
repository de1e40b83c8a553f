"""The sampled gradients have the distribution of Algorithm 1's, for every kind of linear map.

A sample's activations and the gradients that arrive at them determine its parameters' gradients.
Both, over many samples, are compared with those of the literal estimator, which perturbs parameters
by torch's own generator and runs under plain vmap.
"""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from smoothing.distributions import rejections
from torch import nn
from torch.func import functional_call, vmap
from torch.func import grad as gradient_of

from pprs.smoothing import Noise, Perturbation, Role, _gram, _noise, _pass, at_perturbed, force_way

SAMPLES, SIGMA = 50_000, 0.4


class Net(nn.Module):
    """Three linear maps; `taps` are added to their outputs and so collect their gradients."""

    def __init__(self, inputs, widths=(4, 3, 2), bias=True):
        super().__init__()
        torch.manual_seed(0)
        sizes = [inputs.shape[-1], *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias) for a, b in pairwise(sizes)).double()
        self.inputs = inputs

    def taps(self, samples):
        rows = self.inputs.shape[:-1]
        return [torch.zeros(samples, *rows, m.out_features).double() for m in self.layers]

    def apply_layer(self, layer, h):
        return layer(h)

    def forward(self, *taps):
        h, seen = self.inputs, []
        for layer, tap in zip(self.layers, taps, strict=True):
            h = self.apply_layer(layer, h) + tap
            seen.append(h.flatten())
            h = torch.tanh(h) + 0.3 * torch.relu(h)
        loss = (h - 0.5).abs().sum() + h.prod(-1).pow(2).sum()
        return torch.cat([loss[None], *seen])


class Transposed(Net):
    """x @ W and addmm, as GPT-2 has them."""

    def apply_layer(self, layer, h):
        if layer.bias is None:
            return h @ layer.weight.T
        return torch.addmm(layer.bias, h, layer.weight.t())


class InOut(Net):
    """Weights of shape (in, out)."""

    def __init__(self, inputs, **options):
        super().__init__(inputs, **options)
        for layer in self.layers:
            layer.weight = nn.Parameter(layer.weight.detach().T.clone())

    def apply_layer(self, layer, h):
        return torch.matmul(h, layer.weight) + layer.bias


class Left(Net):
    """W @ x."""

    def apply_layer(self, layer, h):
        return (layer.weight @ h.mT).mT + layer.bias


class Reused(Net):
    """One weight for all maps: its later uses must agree with what the first one drew."""

    def __init__(self, inputs, **options):
        super().__init__(inputs, widths=(3, 3, 3), **options)
        for layer in self.layers[1:]:
            layer.weight = self.layers[0].weight


class Penalised(Net):
    """The parameters themselves are part of the loss."""

    def forward(self, *taps):
        out = super().forward(*taps)
        penalty = sum(p.pow(2).sum() for p in self.parameters())
        return torch.cat([out[:1] + penalty, out[1:], self.layers[1].weight.flatten()])


class LinearThenEmbedding(Net):
    """A tied embedding that is looked up after its use as a linear map."""

    def apply_layer(self, layer, h):
        rows = F.embedding(torch.tensor([0, 1]), layer.weight)
        return layer(h) + rows.sum()


class GradientOfInputs(Net):
    """The inputs need a gradient too."""

    def __init__(self, inputs, **options):
        super().__init__(inputs, **options)
        self.offset = nn.Parameter(torch.zeros_like(inputs))
        self.offset.requires_grad_(False)

    def taps(self, samples):
        return [torch.zeros(samples, *self.inputs.shape).double(), *super().taps(samples)]

    def forward(self, first, *taps):
        kept, self.inputs = self.inputs, self.inputs + first
        try:
            return super().forward(*taps)
        finally:
            self.inputs = kept


def rows(n, width=3):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def degenerate():
    x = rows(5)
    x[1], x[2], x[3] = x[0], 0.0, x[0] * 1e4
    return x


CASES = {
    "one row": lambda: Net(rows(1)),
    "rows": lambda: Net(rows(2)),
    "no bias": lambda: Net(rows(2), bias=False),
    "leading dimensions": lambda: Net(rows(4).view(2, 2, 3), widths=(3, 2, 1)),
    "transposed": lambda: Transposed(rows(2)),
    "transposed without bias": lambda: Transposed(rows(2), bias=False),
    "in, out": lambda: InOut(rows(2)),
    "left": lambda: Left(rows(2)),
    "more rows than width": lambda: Net(rows(5), widths=(2, 2, 2)),
    "degenerate rows": lambda: Net(degenerate(), widths=(2, 2, 1)),
    "reused": lambda: Reused(rows(2)),
    "penalised": lambda: Penalised(rows(2), widths=(3, 2, 2)),
    "looked up afterwards": lambda: LinearThenEmbedding(rows(2)),
    "gradient of inputs": lambda: GradientOfInputs(rows(2)),
}


def pairs(observed, antithetic):
    """With antithetic pairs, a draw is what both samples of a pair give."""
    return observed.reshape(len(observed) // 2, -1) if antithetic else observed


def sampled(net, *, sigma=SIGMA, antithetic=False, scale=None, seed=0, samples=SAMPLES):
    law = Perturbation(sigma, samples, antithetic=antithetic, scale=scale)
    parameters = {n: p for n, p in net.named_parameters() if p.requires_grad}
    noise, drawn = Noise(seed, 0), law.samples_of(samples, 1)
    taps = [tap.requires_grad_() for tap in net.taps(samples)]
    with force_way("implicit"):
        targets = law.targets(parameters, law.sigmas(parameters, 0), noise, drawn)
        result = at_perturbed(net, targets, drawn, *taps)
        arrived = torch.autograd.grad(result[:, 0].sum(), taps)
    return pairs(torch.cat([result.detach(), *(g.flatten(1) for g in arrived)], 1), antithetic)


def literal(net, *, antithetic=False, scale=None, samples=SAMPLES):
    generator = torch.Generator().manual_seed(1)
    perturbed = {}
    for name, p in net.named_parameters():
        if not p.requires_grad:
            continue
        x = torch.randn(samples, *p.shape, generator=generator, dtype=p.dtype)
        if antithetic:
            x[1::2] = -x[::2]
        size = p.norm() if p.dim() == 1 else p.flatten(1).norm(dim=1).view(-1, *[1] * (p.dim() - 1))
        perturbed[name] = (p + SIGMA * x * (size if scale == "filter" else 1)).detach()

    def at(parameters, taps):
        return functional_call(net, parameters, taps)

    taps = tuple(net.taps(samples))
    arrived = vmap(gradient_of(lambda p, t: at(p, t)[0], argnums=1))(perturbed, taps)
    result = vmap(at)(perturbed, taps)
    return pairs(torch.cat([result, *(g.flatten(1) for g in arrived)], 1).detach(), antithetic)


@pytest.mark.parametrize("case", CASES)
def test_the_distribution_is_that_of_the_literal_estimator(case):
    net = CASES[case]()
    assert rejections(sampled(net), literal(net)) == []


@pytest.mark.parametrize("case", ["rows", "reused", "gradient of inputs"])
@pytest.mark.parametrize("law", [dict(antithetic=True), dict(scale="filter")], ids=str)
def test_so_it_is_in_pairs_and_scaled_by_filters(case, law):
    net = CASES[case]()
    assert rejections(sampled(net, **law), literal(net, **law)) == []


def test_the_comparison_rejects_a_sigma_wrong_by_5_percent():
    net = CASES["rows"]()
    assert rejections(sampled(net, sigma=SIGMA * 1.05), literal(net))


def test_it_rejects_backward_noise_that_does_not_know_the_forward_noise(monkeypatch):
    def unconditional(known, left, signs, source):
        free = source.normals(Role.BACKWARD, left.shape[1], known.rows.shape[2], like=left)
        return _gram.factor(left, signs).lower.to(left.dtype) @ free

    net = CASES["rows"]()
    monkeypatch.setattr(_gram.Known, "product", unconditional)
    assert rejections(sampled(net), literal(net))


def test_it_rejects_a_reuse_that_does_not_know_the_first_use(monkeypatch):
    net = CASES["reused"]()
    monkeypatch.setattr(_gram.Known, "complete", lambda known, free, residual: free)
    assert rejections(sampled(net), literal(net))


def test_it_rejects_noise_shared_by_all_layers(monkeypatch):
    net = Reused(rows(2))
    for layer in net.layers[1:]:
        layer.weight = nn.Parameter(layer.weight.detach().clone())
    key = _noise.Noise.key
    monkeypatch.setattr(_noise.Noise, "key", lambda self, name: key(self, name.split(".")[-1]))
    assert rejections(sampled(net), literal(net))


def test_it_rejects_pairs_that_are_not_antithetic():
    net = CASES["rows"]()
    independent = pairs(sampled(net), antithetic=True)
    assert rejections(independent, literal(net, antithetic=True))


@pytest.mark.parametrize("case", CASES)
def test_parameters_get_the_sum_over_samples_of_the_products(case, monkeypatch):
    """As long as the pass is open, a backward completes X: then all is a matter of algebra."""
    monkeypatch.setattr(_pass.Pass, "close", lambda *_: None)
    net, samples = CASES[case](), 6
    law = Perturbation(SIGMA, samples)
    parameters = {n: p for n, p in net.named_parameters() if p.requires_grad}
    noise, drawn = Noise(3, 0), law.samples_of(samples, 1)

    def run(way):
        with force_way(way):
            targets = law.targets(parameters, law.sigmas(parameters, 0), noise, drawn)
            return at_perturbed(net, targets, drawn, *net.taps(samples)), targets

    result, targets = run("implicit")
    grads = torch.autograd.grad(result[:, 0].sum(), list(parameters.values()))
    # All that was drawn, completed to X: the same pass with these weights, by plain vmap.
    stacked = {t.name: t.stacked() for t in targets}
    again = vmap(lambda p, taps: functional_call(net, p, taps))(stacked, tuple(net.taps(samples)))
    torch.testing.assert_close(result.detach(), again, rtol=1e-4, atol=1e-4)
    per_sample = vmap(gradient_of(lambda p, t: functional_call(net, p, t)[0]))(
        stacked, tuple(net.taps(samples))
    )
    for name, grad in zip(parameters, grads, strict=True):
        torch.testing.assert_close(grad, per_sample[name].sum(0), rtol=1e-4, atol=1e-4)
