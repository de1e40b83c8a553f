"""Perturbations: sizes, groups, pairs, noise per example, and what is refused."""

import math

import pytest
import torch
from torch import nn

import pprs
from pprs.smoothing import Noise, Perturbation, at_perturbed, force_way

NAMES = ["body.0.weight", "body.0.bias", "head.weight"]


def test_sigma_is_a_number_a_function_or_one_of_these_for_each_group():
    assert Perturbation(0.3, 1).sigmas(NAMES, 7) == dict.fromkeys(NAMES, 0.3)
    assert Perturbation(lambda t: 1 / (1 + t), 1).sigmas(NAMES, 3) == dict.fromkeys(NAMES, 0.25)
    groups = {"": 0.1, "body": lambda t: 0.5 * t, "body.0.bias": 0.0}
    assert Perturbation(groups, 1).sigmas(NAMES, 2) == dict(
        zip(NAMES, (1.0, 0.0, 0.1), strict=True)
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(sigma=-1.0), "sigma.*-1.0"),
        (dict(sigma=lambda t: math.nan), "sigma.*nan"),
        (dict(sigma={"body": 0.1}), "no value for parameter 'head.weight'"),
        (dict(sigma={"": 0.1, "haed": 0.2}), "names 'haed'"),
        (dict(antithetic=True), "pairs.*samples=3 is odd"),
        (dict(noise="batch"), "noise must be one of.*'batch'"),
        (dict(scale="layer"), "scale must be one of.*'layer'"),
        (dict(samples=0), "samples.*0"),
    ],
)
def test_what_does_not_fit_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Perturbation(**{"sigma": 0.1, "samples": 3} | options).sigmas(NAMES, 0)


def test_noise_per_example_needs_a_batch_of_equal_first_dimensions():
    model = nn.Linear(3, 1)
    call = lambda batch: pprs.smooth(  # noqa: E731
        lambda *b: model(b[0]).mean(), model, 0.1, 2, noise="example", batch=batch
    )
    with pytest.raises(ValueError, match="pass the batch"):
        call(None)
    with pytest.raises(ValueError, match=r"first dimension.*\(4, 3\), \(5,\)"):
        call((torch.ones(4, 3), torch.ones(5)))
    with pytest.raises(ValueError, match="sequence"):
        call(torch.ones(4, 3))


def grads(model, samples, repeats, sigma=0.5, **options):
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 2.0], [-1.0, 1.0]]).double()
    found = []
    for step in range(repeats):
        model.zero_grad()
        loss = pprs.smooth(
            lambda x: model(x).abs().mean(),
            model,
            sigma,
            samples,
            batch=(x,),
            seed=3,
            step=step,
            **options,
        )
        loss.backward()
        found.append(model.weight.grad.flatten().clone())
    return torch.stack(found)


@pytest.mark.parametrize("way", ["implicit", "materialised"])
def test_noise_per_example_and_pairs_have_the_mean_and_less_variance(way):
    torch.manual_seed(0)
    model = nn.Linear(2, 1, bias=False).double()
    with force_way(way):
        shared, example, pairs = (
            grads(model, 2, 400, **options)
            for options in (dict(), dict(noise="example"), dict(antithetic=True))
        )
    for other in (example, pairs):
        error = ((shared.var(0) + other.var(0)) / 400).sqrt()
        assert ((shared.mean(0) - other.mean(0)) < 5 * error).all()
    # Four examples are four times as many draws, of which some had met alike in any case.
    assert example.var(0).sum() < 0.8 * shared.var(0).sum()
    assert pairs.var(0).sum() < 0.9 * shared.var(0).sum()


def test_filters_are_perturbed_in_proportion_to_their_norms():
    model = nn.Linear(3, 4).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 3, [3.0, 0, 4.0], [1.0, 0, 0], [0, 10.0, 0]]))
        model.bias.copy_(torch.tensor([0.0, 0.0, 3.0, 4.0]))
    law = Perturbation(0.1, 20_000, scale="filter")
    parameters = dict(model.named_parameters())
    samples = law.samples_of(law.samples, 1)
    targets = law.targets(parameters, law.sigmas(parameters, 0), Noise(0, 0), samples)
    weight, bias = at_perturbed(lambda: (model.weight * 1, model.bias * 1), targets, samples)
    deviation = (weight - model.weight).std((0, 2))
    expected = 0.1 * torch.tensor([0.0, 5.0, 1.0, 10.0]).double()
    torch.testing.assert_close(deviation, expected, rtol=0.03, atol=1e-12)
    torch.testing.assert_close(bias.std(0), torch.full((4,), 0.5).double(), rtol=0.03, atol=0)


def network(dtype=torch.float32, width=48):
    torch.manual_seed(0)
    layers = [nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 3)).to(dtype)


def gradient(model, x, sigma=0.1, factor=1.0, samples=8, **options):
    model.zero_grad()
    loss = pprs.smooth(lambda: factor * model(x).pow(2).mean(), model, sigma, samples, **options)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


DEGENERATE = {
    "one row": torch.ones(1, 6),
    "duplicates": torch.ones(5, 6),
    "zero rows": torch.zeros(4, 6),
    "some zero rows": torch.cat([torch.zeros(2, 6), torch.eye(6)]),
    "more rows than width": torch.randn(200, 6, generator=torch.Generator().manual_seed(0)),
    "huge": 1e4 * torch.eye(6),
    "huge and tiny": torch.diag(torch.tensor([1e4, 1.0, 1e-4, 1e-8, 1e-20, 0.0])),
}


@pytest.mark.parametrize("options", [dict(), dict(antithetic=True), dict(scale="filter")], ids=str)
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_inputs_give_finite_gradients_of_the_right_size(case, options):
    """In float32, against float64: the same draws, so the same gradient up to single precision."""
    x = DEGENERATE[case]
    with force_way("implicit"):
        single = gradient(network(), x, seed=1, step=0, **options)
        double = gradient(network(torch.float64), x.double(), seed=1, step=0, **options)
        literal_size = []
    for step in range(4):
        with force_way("materialised"):
            other = gradient(network(torch.float64), x.double(), seed=2, step=step, **options)
        literal_size.append(other.norm())
    assert single.isfinite().all()
    literal_size = torch.stack(literal_size).median()
    assert 0.2 < double.norm() / literal_size < 5
    assert 0.2 < single.norm() / literal_size < 5


def test_tiny_gradients_keep_their_size_and_noise():
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    with force_way("implicit"):
        usual = gradient(network(), x, seed=1, step=0)
        tiny = gradient(network(), x, factor=1e-20, seed=1, step=0)
    torch.testing.assert_close(tiny * 1e20, usual, rtol=1e-3, atol=1e-5)


def test_dead_layers_have_finite_gradients():
    model = network()
    with torch.no_grad():
        model[0].bias.fill_(-1e3)  # no unit of the first layer is ever alive
    with force_way("implicit"):
        found = gradient(model, torch.ones(3, 6), seed=1, step=0)
    assert found.isfinite().all()
    assert found.norm() > 0


@pytest.mark.parametrize("way", ["implicit", "materialised"])
def test_the_same_seed_gives_the_same_bits_whatever_the_global_generator(way):
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    with force_way(way):
        torch.manual_seed(1)
        model = network()
        first = gradient(model, x, seed=4, step=2)
        torch.manual_seed(2)
        assert torch.equal(gradient(model, x, seed=4, step=2), first)
        assert not torch.equal(gradient(model, x, seed=4, step=3), first)
        assert not torch.equal(gradient(model, x, seed=5, step=2), first)


def test_the_number_of_threads_does_not_change_the_draws():
    drawn = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            noise = Noise(0, 0).normals(
                "w", pprs.smoothing.Role.FORWARD, (3, 50_000), torch.float32, torch.device("cpu")
            )
        finally:
            torch.set_num_threads(1)
        drawn.append(noise)
    assert torch.equal(*drawn)


@pytest.mark.parametrize("way", ["implicit", "materialised"])
def test_a_second_backward_gives_the_same_gradient(way):
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    model = network()
    with force_way(way):
        loss = pprs.smooth(lambda: model(x).pow(2).mean(), model, 0.1, 8, seed=1)
    parameters = list(model.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    again = torch.autograd.grad(loss, parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("way", ["implicit", "materialised"])
def test_bfloat16_under_autocast_is_near_single_precision(way):
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    with force_way(way):
        single = gradient(network(), x, seed=1, step=0, samples=64)
        model = network()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = pprs.smooth(lambda: model(x).pow(2).mean(), model, 0.1, 64, seed=1, step=0)
        loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    mixed = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert (mixed - single).norm() < 0.05 * single.norm()


def test_a_scaled_loss_gives_scaled_gradients():
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    model, scaler = network(), torch.amp.GradScaler("cpu")
    with force_way("implicit"):
        usual = gradient(model, x, seed=1, step=0)
        model.zero_grad()
        loss = pprs.smooth(lambda: model(x).pow(2).mean(), model, 0.1, 8, seed=1, step=0)
        scaler.scale(loss).backward()
    scaled = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(scaled / scaler.get_scale(), usual, rtol=1e-4, atol=1e-6)


def test_a_compiled_model_runs_uncompiled_inside_the_pass():
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    model = network()
    compiled = torch.compile(model, backend="eager")
    options = dict(sigma=0.1, samples=4, seed=1, step=0)
    expected = pprs.smooth(lambda: model(x).pow(2).mean(), model, **options)
    assert torch.equal(pprs.smooth(lambda: compiled(x).pow(2).mean(), model, **options), expected)


def test_the_way_around_private_functions_gives_the_same(monkeypatch):
    from pprs.smoothing import _vmap

    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    with force_way("implicit"):
        expected = gradient(network(), x, seed=1, step=0)
        monkeypatch.setattr(_vmap, "_direct", False)
        assert torch.equal(gradient(network(), x, seed=1, step=0), expected)


def z_of_maximum(assumed_sigma):
    """f = max(a·t, b·t): the gradient is a with probability Phi((a-b)·t / (s |a-b|)), else b."""
    a, b = torch.tensor([1.0, 2.0, -1.0]).double(), torch.tensor([0.5, -1.0, 0.0]).double()
    t, n = torch.tensor([[0.3, -0.1, 0.2]]).double(), 50_000
    model = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(t)
    both = torch.stack([a, b])
    with force_way("implicit"):
        pprs.smooth(lambda: model(both).max(), model, 0.3, n, seed=1).backward()
    ratio = (a - b) @ t[0] / (assumed_sigma * (a - b).norm())
    p = torch.special.ndtr(ratio)
    expected, size = p * a + (1 - p) * b, (a - b).abs() * (p * (1 - p) / n).sqrt()
    return ((model.weight.grad[0] - expected) / size).abs().max().item()


def test_the_maximum_of_two_linear_functions_has_its_closed_form():
    assert z_of_maximum(0.3) < 5  # one test in effect: both coordinates are one; 6e-7
    assert z_of_maximum(0.3 * 1.15) > 5


@pytest.mark.parametrize("options", [dict(), dict(antithetic=True)], ids=str)
def test_the_samples_of_a_pair_see_one_example_and_gather_undoes_spread(options):
    law = Perturbation(0.1, 4, "example", **options)
    examples = torch.arange(3.0).expand(4, 3)
    samples = law.samples_of(4, 3)
    rows = samples.spread(examples)
    assert rows.shape == (12, 1)
    if law.antithetic:
        assert torch.equal(rows[::2], rows[1::2])
    numbered = torch.arange(12).view(4, 3)
    assert torch.equal(samples.gather(samples.spread(numbered)), numbered)


def test_a_batch_that_the_closure_changes_no_longer_repeats():
    class Shifted(nn.Module):
        def __init__(self, in_place):
            super().__init__()
            self.shift, self.map = nn.Parameter(torch.zeros(6)), network()
            self.in_place = in_place

        def forward(self, x):
            shift = self.shift.detach()  # perturbed, so every sample has its own
            return self.map(x.add_(shift) if self.in_place else x + shift)

    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))

    def found(in_place):
        model = Shifted(in_place)
        with force_way("implicit"):
            return pprs.smooth(
                lambda x: model(x).pow(2).mean(), model, 0.5, 4, noise="example", batch=(x,), seed=0
            )

    assert found(in_place=True) == found(in_place=False)
