"""The smoothed loss: closed forms, fresh and repeatable noise, and what is refused."""

import math
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.smoothing import Noise, Perturbation, losses_at


class Vector(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def smoothed(f, values, sigma, samples, seed=0):
    model = Vector(values)
    loss = pprs.smooth(lambda: f(model.theta), model, sigma, samples, seed=seed)
    loss.backward()
    return loss.item(), model.theta.grad


def z_limit(tests, false_alarms=1e-6):
    """Two-sided normal quantile, Bonferroni-corrected: the seeds are fixed, so it holds or not."""
    return math.sqrt(2) * torch.special.erfinv(torch.tensor(1 - false_alarms / tests).double())


THETA, SIGMA, SAMPLES = [0.5, -0.2, 0.0, 2.0], 0.3, 50_000


def l1_z_scores(assumed_sigma):
    """z-scores of the smoothed 1-norm and its gradient, sampled at SIGMA, against closed forms.

    E|u + sX| = s sqrt(2/pi) exp(-u^2/2s^2) + u (2 Phi(u/s) - 1), with derivative 2 Phi(u/s) - 1.
    """
    loss, grad = smoothed(lambda t: t.abs().sum(), THETA, SIGMA, SAMPLES)
    u, s = torch.tensor(THETA, dtype=torch.float64), assumed_sigma
    slope = torch.special.erf(u / (s * math.sqrt(2)))
    mean = s * math.sqrt(2 / math.pi) * torch.exp(-(u**2) / (2 * s**2)) + u * slope
    variance = (u**2 + s**2 - mean**2).sum()
    z_loss = (loss - mean.sum()) / (variance / SAMPLES).sqrt()
    # Where the sign hardly ever changes the normal approximation fails: leave those out.
    z_grad = (grad - slope) / ((1 - slope**2) / SAMPLES).sqrt().clamp_min(1e-9)
    return torch.cat([z_loss[None], z_grad[u.abs() < 2 * s]]).abs()


def test_l1_norm_has_its_closed_form():
    z = l1_z_scores(SIGMA)
    assert (z < z_limit(len(z))).all()


def test_l1_test_rejects_a_sigma_wrong_by_5_percent():
    z = l1_z_scores(SIGMA * 1.05)
    assert (z > z_limit(len(z))).any()


def quadratic_z_scores(assumed_sigma):
    """E (t+sX)'A(t+sX)/2 = t'At/2 + s^2 tr(A)/2; the gradient is A(t + s mean X)."""
    a = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    t = torch.tensor([1.0, -2.0], dtype=torch.float64)
    loss, grad = smoothed(lambda v: v @ a @ v / 2, t.tolist(), SIGMA, SAMPLES)
    s = assumed_sigma
    variance = s**2 * (a @ t) @ (a @ t) + s**4 * (a @ a).trace() / 2
    z_loss = (loss - t @ a @ t / 2 - s**2 * a.trace() / 2) / (variance / SAMPLES).sqrt()
    z_grad = (grad - a @ t) / (s**2 * (a @ a).diagonal() / SAMPLES).sqrt()
    return torch.cat([z_loss[None], z_grad]).abs()


def test_quadratic_has_its_closed_form():
    z = quadratic_z_scores(SIGMA)
    assert (z < z_limit(len(z))).all()


def test_quadratic_test_rejects_a_wrong_sigma():
    # The trace term of the loss grows with sigma squared: 30 % is 29 standard errors here.
    z = quadratic_z_scores(SIGMA * 1.3)
    assert (z > z_limit(len(z))).any()


def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def run(model, **options):
    x = torch.ones(4, 3)
    loss = pprs.smooth(lambda: model(x).abs().mean(), model, sigma=0.5, samples=3, **options)
    model.zero_grad()
    loss.backward()
    return loss.item()


def test_every_call_draws_fresh_noise_and_a_seed_repeats_the_sequence():
    first, second = linear(), linear()
    sequence = [run(first, seed=1) for _ in range(3)]
    assert len(set(sequence)) == 3
    assert [run(second, seed=1) for _ in range(3)] == sequence
    assert run(linear(), seed=2) != sequence[0]
    assert run(linear()) != run(linear())


def test_step_names_the_noise():
    model = linear()
    assert run(model, seed=1, step=5) == run(model, seed=1, step=5)
    assert run(model, seed=1, step=5) != run(model, seed=1, step=6)


def test_the_global_generator_is_not_touched():
    model = linear()
    before = torch.get_rng_state()
    run(model)
    run(model, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_torchs_compiler_is_not_loaded(monkeypatch):
    model = linear()
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    run(model)
    assert "torch._dynamo" not in sys.modules


def test_sigma_zero_and_one_sample_are_plain():
    model, x = linear(), torch.ones(4, 3)
    plain = model(x).abs().mean()
    for sigma, samples in ((0, 1), (0.0, 7)):
        loss = pprs.smooth(lambda: model(x).abs().mean(), model, sigma, samples)
        torch.testing.assert_close(loss, plain)
    assert pprs.smooth(lambda: model(x).abs().mean(), model, 0.5, 1) != plain


def test_frozen_parameters_are_not_perturbed():
    model, x = linear(), torch.ones(4, 3)
    model.weight.requires_grad_(False)
    loss = pprs.smooth(lambda: model(x).sum(1).mean(), model, 100.0, 400, seed=0)
    loss.backward()
    assert model.weight.grad is None
    assert model.bias.grad is not None


def test_tied_weights_share_one_perturbation():
    a, b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    b.weight = a.weight
    model = nn.Sequential(a, b)

    def gap():
        return (model[0].weight - model[1].weight).abs().sum()

    assert pprs.smooth(gap, model, 1.0, 3) == 0


ERRORS = [
    (dict(sigma=-1.0), ValueError, "sigma.*-1.0"),
    (dict(sigma=math.nan), ValueError, "sigma.*nan"),
    (dict(samples=0), ValueError, "samples.*0"),
    (dict(samples=1.5), ValueError, "samples.*1.5"),
]


def check_refused(model, closure, error, match, **options):
    """The call fails, and parameters and gradients are what they were."""
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.0)
    before = [p.detach().clone() for p in model.parameters()]
    for call in (
        lambda: pprs.smooth(closure, model, **{"sigma": 0.1, "samples": 2} | options),
        lambda: pprs.PPRS(model, lr=0.1, **{"sigma": 0.1, "samples": 2} | options).step(closure),
    ):
        with pytest.raises(error, match=match):
            call()
        for p, value in zip(model.parameters(), before, strict=True):
            assert torch.equal(p, value)
            assert torch.equal(p.grad, torch.full_like(p, 7.0))


@pytest.mark.parametrize(("options", "error", "match"), ERRORS)
def test_arguments_out_of_range_are_refused(options, error, match):
    model = linear()
    check_refused(model, lambda: model(torch.ones(4, 3)).mean(), error, match, **options)


@pytest.mark.parametrize(
    ("closure", "error", "match"),
    [
        (lambda out: out.mean(1), ValueError, r"shape \(4,\).*mean"),
        (lambda out: None, ValueError, "return loss"),
        (lambda out: out.mean() * math.inf, RuntimeError, "inf.*sigma 0.1"),
        (lambda out: (out - out).mean() / 0, RuntimeError, "nan"),
    ],
)
def test_losses_that_are_no_finite_scalar_are_refused(closure, error, match):
    model = linear()
    check_refused(model, lambda: closure(model(torch.ones(4, 3))), error, match)


def test_a_model_without_trainable_parameters_is_refused():
    model = linear().requires_grad_(False)
    for call in (
        lambda: pprs.smooth(lambda: model(torch.ones(1, 3)).sum(), model, 0.1, 2),
        lambda: pprs.PPRS(model, lr=0.1, sigma=0.1, samples=2),
        lambda: pprs.smooth(lambda: torch.ones(()), nn.ReLU(), 0.1, 2),
    ):
        with pytest.raises(ValueError, match=r"\d parameters and none is trainable"):
            call()


def test_batch_normalisation_is_refused_while_training_with_a_way_out():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    check_refused(
        model, lambda: model(torch.ones(4, 3)).mean(), RuntimeError, "BatchNorm1d '1'.*GroupNorm"
    )
    model.eval()
    assert pprs.smooth(lambda: model(torch.ones(4, 3)).mean(), model, 0.1, 2).isfinite()


def test_users_networks_run_unchanged():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )
    x, y = torch.randn(5, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1])
    model(x)
    pprs.smooth(lambda: F.cross_entropy(model(x), y), model, 0.1, 3).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_without_sigma_it_is_relative_to_filters_and_there_are_eight_samples():
    def gradient(**law):
        model = nn.Linear(4, 3)
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters(), 1):
                values = torch.linspace(-number, 2 * number, parameter.numel())
                parameter.copy_(values.view_as(parameter))
        closure = lambda: model(torch.ones(2, 4)).square().mean()  # noqa: E731
        pprs.smooth(closure, model, seed=1, **law).backward()
        return model.weight.grad

    assert torch.equal(gradient(), gradient(sigma=0.01, samples=8, scale="filter"))
    assert not torch.equal(gradient(), gradient(sigma=0.01, samples=8))


def test_each_perturbation_draws_its_own_dropout_and_evaluation_draws_none():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 1))
    x = torch.randn(3, 4)
    parameters = dict(model.named_parameters())

    def closure():
        return model(x).square().mean()

    def losses():
        given = Perturbation(1e-9, 8), dict.fromkeys(parameters, 1e-9), Noise(0, 0)
        return losses_at(closure, parameters, *given, None, model).detach()

    assert len(set(losses().tolist())) == 8
    model.eval()
    torch.testing.assert_close(losses(), closure().detach().expand(8))
