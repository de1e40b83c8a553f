"""What a searched step refuses, and leaves as it was."""

import copy

import pytest
import torch
from optim.searching import LABELS, loss_of, same, small, values
from torch import nn

import pprs


def test_the_state_of_something_else_is_refused():
    model = small()
    run = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model)
    with pytest.raises(ValueError, match="not that of a SearchedStep, since it has no optimizer"):
        run.load_state_dict(run.optimizer.state_dict())
    run.step(loss_of(model))
    wider = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 3))
    other = pprs.SearchedStep(torch.optim.SGD(wider.parameters()), wider)
    with pytest.raises(ValueError, match=r"'0.weight' of shape \(6, 4\)"):
        other.load_state_dict(run.state_dict())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LBFGS", "LBFGS cannot be searched.*without a closure"),
        ("ASGD", "ASGD cannot be searched, since its state depends on lr"),
        ("Rprop", "Rprop cannot be searched, since its state depends on lr"),
        ("Adafactor", "Adafactor cannot be searched, since its step of '0.weight'"),
    ],
)
def test_optimizers_whose_steps_are_not_proportional_to_lr_are_refused(name, said):
    model = small()
    optimizer = getattr(torch.optim, name)(model.parameters())
    before, state = values(model), copy.deepcopy(optimizer.state_dict())
    with pytest.raises((TypeError, ValueError), match=said):
        pprs.SearchedStep(optimizer, model).step(loss_of(model))
    assert same(model.parameters(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert str(optimizer.state_dict()) == str(state)


def test_what_is_wrong_with_an_argument_is_said():
    model = small()
    adam = torch.optim.Adam(model.parameters())
    for given, error, said in [
        ((model, model), TypeError, r"takes an optimizer and its model.*got Sequential"),
        ((adam, adam), TypeError, "must be a torch.nn.Module, got Adam"),
        ((pprs.PPRS(model, 0.1, sigma=0.1), model), TypeError, r'PPRS\(model, lr="search"\)'),
    ]:
        with pytest.raises(error, match=said):
            pprs.SearchedStep(*given)
    still = torch.optim.Adam(model.parameters(), lr=0.0)
    with pytest.raises(ValueError, match="Adam has no lr above 0"):
        pprs.SearchedStep(still, model)
    for options, said in [
        ({"perturbation": pprs.Perturbation(0.1, 8)}, "samples must be a multiple of 3: got 8"),
        (
            {"perturbation": pprs.Perturbation(0.1, 28, antithetic=True)},
            "share the pairs of perturbations.* multiple of 6: got 28",
        ),
        ({"factors": (1.0, 1.4)}, r"some below 1 and some above.*got \(1.0, 1.4\)"),
        ({"factors": (0.5, -1.0, 2)}, "numbers above 0"),
        ({"factors": 3}, "got 3"),
        ({"unused": "no"}, "unused must be"),
    ]:
        with pytest.raises(ValueError, match=said):
            pprs.SearchedStep(adam, model, **options)
    searched = pprs.SearchedStep(torch.optim.Adam(small().parameters()), model)
    with pytest.raises(ValueError, match=r"shape \(6, 4\) that is not one of the model's"):
        searched.step(loss_of(model))
    searched = pprs.SearchedStep(adam, model)
    with pytest.raises(ValueError, match=r"SearchedStep.step needs a closure.*lambda: loss_f"):
        searched.step()


def test_sparse_gradients_are_refused():
    model = nn.Embedding(5, 3, sparse=True)
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model)
    with pytest.raises(RuntimeError, match="parameter 'weight' has a sparse gradient"):
        searched.step(lambda: model(LABELS).square().sum())


def test_a_step_size_that_something_else_sets_is_refused():
    model = small()
    adam = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(adam, 1, gamma=0.5)
    searched = pprs.SearchedStep(adam, model)
    searched.step(loss_of(model))
    scheduler.step()
    with pytest.raises(RuntimeError, match="lr is searched, but was set from .*scheduler"):
        searched.step(loss_of(model))


def test_an_error_leaves_everything_as_it_was():
    model, calls = small(), []

    def failing():
        calls.append(1)
        if len(calls) % 3 == 0:
            raise KeyError("the third candidate")
        return loss_of(model)()

    def infinite():
        return loss_of(model)() * torch.inf

    def steep():
        return loss_of(model)() + (0 * model[0].weight).abs().sqrt().sum()

    for optimizer in (torch.optim.Adam(model.parameters()), pprs.AGD(model.parameters(), lr=0.1)):
        searched = pprs.SearchedStep(optimizer, model, seed=0)
        for _ in range(3):
            searched.step(loss_of(model))
        before, state = values(model), copy.deepcopy(searched.state_dict())
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        for closure, said in [
            (failing, "third candidate"),
            (infinite, "not finite at any step size"),
            (steep, "gradient of parameter '0.weight' is not finite, though the loss is"),
        ]:
            calls.clear()
            with pytest.raises((KeyError, RuntimeError), match=said):
                searched.step(closure)
            assert same(model.parameters(), before)
            assert same([parameter.grad for parameter in model.parameters()], gradients)
            assert str(searched.state_dict()) == str(state)
        searched.step(loss_of(model))


def test_a_pass_without_a_finite_loss_leaves_everything_as_it_was():
    model = small()
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model)
    searched.step(loss_of(model))
    before, gradients = values(model), [parameter.grad for parameter in model.parameters()]
    moved = {name: p.detach() + 1 for name, p in model.named_parameters()}

    def backward():
        model.zero_grad()
        loss = loss_of(model)() / 0
        loss.backward()
        return loss

    for closure in (lambda: loss_of(model)() / 0, backward):
        losses = searched._evaluator.step(closure, centres=[moved] * 3)
        assert not losses.isfinite().any()
        assert same(model.parameters(), before)
        assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert searched._evaluator.steps == 1
