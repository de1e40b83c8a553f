"""PPRS with a step size that is searched."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def loss_of(model):
    return lambda: F.cross_entropy(model(X), Y)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def pprs_of(model, **options):
    return pprs.PPRS(model, lr="search", **{"sigma": 0.01, "seed": 0} | options)


@pytest.mark.parametrize("momentum", [0.9, "nesterov"])
def test_it_takes_the_searched_steps_of_agd(momentum):
    model, other = net(), net()
    optimizer = pprs_of(model, momentum=momentum)
    agd = pprs.AGD(other.parameters(), lr=1e-3, momentum=momentum)
    searched = pprs.SearchedStep(agd, other, perturbation=0.01, seed=0)
    for _ in range(6):
        assert torch.equal(optimizer.step(loss_of(model)), searched.step(loss_of(other)))
    assert same(model, other)
    assert optimizer.param_groups[0]["lr"] == searched.lr
    with optimizer.evaluating(), searched.evaluating():
        assert same(model, other)
        with pytest.raises(RuntimeError, match="PPRS.step.. was called while"):
            optimizer.step(loss_of(model))
    assert same(model, other)


def test_it_takes_twelve_samples_in_pairs_where_nothing_is_said_and_others_if_they_divide():
    def settings(**options):
        group = pprs_of(net(), **options).param_groups[0]
        return group["samples"], group["antithetic"]

    assert settings() == (12, True)
    assert settings(antithetic=False) == (12, False)
    assert settings(samples=9) == (9, False)
    with pytest.raises(ValueError, match="samples must be a multiple of 3: got 8"):
        pprs_of(net(), samples=8)
    with pytest.raises(ValueError, match="lr is the step size.*'seek'"):
        pprs.PPRS(net(), lr="seek", sigma=0.1)


def test_it_learns_without_a_step_size_and_with_sigmas_of_its_own():
    model = net()
    optimizer = pprs_of(model, sigma={"0": 0.02, "2": lambda step: 0.1 / (1 + step)})
    losses = [optimizer.step(loss_of(model)).item() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]
    assert optimizer.param_groups[1]["sigma"] == pytest.approx(0.1 / 40)
    assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"]


def saved(model, optimizer):
    other = net()
    other.load_state_dict(model.state_dict())
    resumed = pprs_of(other, sigma=0.5, seed=9)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return other, resumed


@pytest.mark.parametrize(
    "way",
    [
        lambda *both: copy.deepcopy(both),
        lambda *both: pickle.loads(pickle.dumps(both)),
        saved,
    ],
    ids=["copied", "pickled", "saved"],
)
def test_the_pending_step_is_a_part_of_its_state(way):
    model = net()
    optimizer = pprs_of(model)
    for _ in range(3):
        optimizer.step(loss_of(model))
    other, copied = way(model, optimizer)
    optimizer.step(loss_of(model))
    assert not same(model, other)
    copied.step(loss_of(other))
    assert same(model, other)


def test_a_group_that_is_added_takes_the_step_size_that_was_found():
    model = net()
    model[0].requires_grad_(False)
    optimizer = pprs_of(model)
    for _ in range(3):
        optimizer.step(loss_of(model))
    model[0].requires_grad_(True)
    with pytest.raises(ValueError, match="searched for all groups: add this one without its lr"):
        optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.1})
    optimizer.add_param_group({"params": model[0].parameters()})
    before = model[0].weight.clone()
    assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"]
    for _ in range(2):
        optimizer.step(loss_of(model))
    assert not torch.equal(model[0].weight, before)


def test_a_scheduler_and_a_scaler_are_refused():
    model = net()
    optimizer = pprs_of(model)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step(loss_of(model))
    scheduler.step()
    with pytest.raises(RuntimeError, match="lr is searched, but was set from"):
        optimizer.step(loss_of(model))
    model = net()
    scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(RuntimeError, match="does not go with a GradScaler"):
        pprs_of(model).step(lambda: scaler.scale(loss_of(model)()))


def test_an_error_leaves_everything_as_it_was():
    model = net()
    optimizer = pprs_of(model)
    for _ in range(2):
        optimizer.step(loss_of(model))
    before, state = copy.deepcopy(model), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(RuntimeError, match="not finite at any step size"):
        optimizer.step(lambda: loss_of(model)() * torch.nan)
    assert same(model, before)
    assert str(optimizer.state_dict()) == str(state)
