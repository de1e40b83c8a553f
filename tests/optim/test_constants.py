import pytest
import torch
from torch import nn

from pprs.optim import estimate_constants


def test_the_slope_and_the_distance_of_a_norm_are_found():
    """f = 3 |w - 2|_2 from w = 0: L = 3, R = the norm of (2, 2, 2, 2)."""
    model = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(model.weight)
    found = estimate_constants(lambda: 3 * (model.weight - 2).norm(), model, steps=400, lr=0.02)
    assert found.lipschitz == pytest.approx(3, rel=1e-5)
    assert found.radius == pytest.approx(4, rel=0.02)
    assert found.dimension == 4


def test_the_point_after_the_last_step_counts():
    """Adam's first step is lr long in each coordinate."""
    model = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(model.weight)
    found = estimate_constants(lambda: 3 * (model.weight - 2).norm(), model, steps=1, lr=0.1)
    assert found.radius == pytest.approx(0.2)


def test_the_slope_is_the_largest_on_the_way_over_all_parameters():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 3.0)
    nn.init.constant_(model.bias, 4.0)

    def bowl():
        return sum(p.square().sum() for p in model.parameters()) / 2

    with torch.no_grad():  # an estimate needs gradients wherever it is called
        found = estimate_constants(bowl, model, steps=50, lr=0.05)
    assert found.lipschitz == pytest.approx(5)  # where it starts


def infinite_loss(weight):
    return weight.sum() + float("inf")


def infinite_slope(weight):
    return weight.sqrt().sum()


@pytest.mark.parametrize("loss", [infinite_loss, infinite_slope])
def test_a_loss_or_a_slope_that_is_not_finite_ends_the_trial(loss):
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    with pytest.raises(RuntimeError, match="step 0 of the trial has loss (inf|0.0) and a gradient"):
        estimate_constants(lambda: loss(model.weight), model)


def test_nothing_of_the_model_is_changed_even_after_an_error():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model.register_buffer("calls", torch.zeros(()))
    model[0].weight.requires_grad_(False)
    model[1].bias.grad = gradient = torch.ones(1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(5, 3)

    def closure(fail_at=10**6):
        model.calls += 1
        return model(x).abs().mean() * (float("nan") if model.calls > fail_at else 1)

    estimate_constants(closure, model, steps=5)
    with pytest.raises(RuntimeError, match="step 2 of the trial has loss nan"):
        estimate_constants(lambda: closure(fail_at=2), model, steps=5)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert model[1].bias.grad is gradient
    assert torch.equal(gradient, torch.ones(1))
    assert model[1].weight.grad is None


def test_frozen_parameters_do_not_count():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert estimate_constants(lambda: model(torch.ones(1, 3)).sum(), model).dimension == 6


@pytest.mark.parametrize("options", [dict(steps=0), dict(lr=0.0), dict(lr=float("nan"))], ids=str)
def test_wrong_settings_are_named(options):
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        estimate_constants(lambda: model(torch.ones(1, 1)).sum(), model, **options)


def test_a_loss_that_does_not_move_is_refused():
    model = nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="every gradient of the trial was 0"):
        estimate_constants(lambda: 0 * model(torch.ones(1, 1)).sum(), model)


def test_a_trial_that_lowers_nothing_is_refused():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1e-3)
    with pytest.raises(
        RuntimeError, match="no step of the trial lowered the loss.*smaller lr than 1"
    ):
        estimate_constants(lambda: model.weight.abs().sum(), model, steps=1, lr=1.0)


def test_a_closure_that_gives_no_scalar_is_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="scalar"):
        estimate_constants(lambda: model(torch.ones(1, 2)), model)
