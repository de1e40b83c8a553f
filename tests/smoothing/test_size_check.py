"""A sigma that is too large or too small is warned of, at no cost to what is computed."""

import copy
import functools
import random
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.smoothing import SigmaWarning, SizeCheck

X = torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
Y = torch.arange(20) % 5


def deep(width=128):
    """Eight layers, initialised as ReLU networks are."""
    torch.manual_seed(0)
    layers = []
    for fan_in in (16, *[width] * 6):
        layers += [nn.Linear(fan_in, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 5))
    for layer in list(model)[::2]:
        nn.init.kaiming_normal_(layer.weight)
    return model


def closure(model):
    return lambda: F.cross_entropy(model(X), Y)


def warned(step, calls):
    """What is said in so many calls; anything else that is warned of is an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", SigmaWarning)
        for _ in range(calls):
            step()
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def smoothing(model, **how):
    return lambda: pprs.smooth(closure(model), model, seed=0, **how)


def optimizing(model, **how):
    optimizer = pprs.PPRS(model, lr=0.01, samples=8, seed=0, **how)
    return functools.partial(optimizer.step, closure(model))


def stepping(model, **how):
    """With torch's usual closure, which runs once for each perturbation."""
    optimizer = pprs.PPRS(model, lr=0.01, samples=8, seed=0, **how)

    def backward():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        return loss

    return functools.partial(optimizer.step, backward)


@pytest.mark.parametrize("way", [smoothing, optimizing, stepping])
def test_it_is_said_once_and_with_a_value_to_try(way):
    (said,) = warned(way(deep(), sigma=0.1), 5)
    assert "sigma 0.1 is too large" in said
    assert "far above the loss without noise" in said
    assert "try sigma 0.0" in said
    assert "Perturbation.filter(0.01)" in said
    assert warned(way(deep(), sigma=0.003), 9) == []
    assert warned(way(deep(), sigma=0.01, scale="filter"), 9) == []
    assert warned(way(deep(), sigma=0.1, check=False), 5) == []
    (said,) = warned(way(deep(), sigma=1e-8), 9)
    assert "sigma 1e-08 is too small" in said
    assert "try sigma 1e-06" in said


def test_the_default_and_no_noise_are_not_warned_of():
    model = deep()
    assert warned(lambda: pprs.smooth(closure(model), model), 9) == []
    assert warned(optimizing(deep(), sigma=0.0), 9) == []


def test_a_searched_step_is_compared_at_its_best_candidate():
    model = deep()
    optimizer = pprs.PPRS(model, lr="search", sigma=0.1, seed=0)
    assert "too large" in warned(lambda: optimizer.step(closure(model)), 5)[0]
    model = deep()
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters(), 0.1), model, seed=0)
    assert warned(lambda: searched.step(closure(model)), 5) == []


def test_of_many_sigmas_a_part_is_suggested():
    said = warned(smoothing(deep(), sigma={"": 0.1, "0": 0.05}), 1)
    assert "times as much" in said[0]
    (said,) = warned(smoothing(deep(), sigma=lambda step: 0.1), 1)
    assert "try sigma 0.0" in said
    (said,) = warned(smoothing(deep(), sigma=0.2, scale="filter"), 1)
    assert "0.2 of each filter's norm is too large" in said
    assert "Perturbation.filter" not in said


def test_losses_that_say_nothing_are_not_judged():
    noise = pprs.Perturbation(0.1)
    check = SizeCheck()
    assert check.compared(0.0, [1.0], noise) is None  # nothing to measure by
    assert check.compared(-1.0, [1.0], noise) is None
    assert check.compared(float("nan"), [1.0], noise) is None
    assert check.compared(1.0, [1.1, 0.9], noise) is None
    assert check.compared(0.01, [0.1], noise) is None  # of a loss that was 1
    # Pairs cancel in a mean, and an effect once seen is enough.
    assert [SizeCheck().compared(1.0, [1.0], noise, mean=True)] * 4 == [None] * 4
    assert [check.compared(1.0, [1.0], noise) for _ in range(4)] == [None] * 4


@pytest.mark.parametrize("way", [smoothing, optimizing, stepping])
def test_nothing_else_changes(way):
    def run(check):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        model = deep(16).append(nn.Dropout(0.5))
        model.append(nn.GroupNorm(1, 5))
        model.passes = []
        model.register_forward_hook(lambda *_: model.passes.append(random.random()))
        step = way(model, sigma=0.01, check=check)
        losses = []
        for _ in range(4):
            loss = step()
            if loss.requires_grad:
                loss.backward()
            losses.append(loss.item())
        gradients = [p.grad for p in model.parameters()]
        drawn = torch.rand(3).tolist(), random.random(), np.random.rand()
        return losses, gradients, drawn, model.passes

    (losses, gradients, *rest), (losses_, gradients_, *rest_) = run(True), run(False)
    assert losses == losses_
    assert all(map(torch.equal, gradients, gradients_))
    assert rest == rest_


def test_a_closure_with_an_iterator_or_a_generator_is_not_run_again():
    model = deep(16)
    batches = iter([X[:10], X[10:], X[:5]])
    pprs.smooth(lambda: model(next(batches)).square().mean(), model, sigma=0.01)
    assert len([*batches]) == 2
    noisy = {"by": torch.Generator().manual_seed(0)}
    states = []

    def loss():
        states.append(noisy["by"].get_state())
        return model(X).square().mean()

    pprs.smooth(loss, model, sigma=0.01)
    assert len(states) == 1


def test_a_closure_that_fails_without_noise_is_left_to_the_smoothed_pass():
    model = deep(16)

    before = copy.deepcopy(model.state_dict())
    calls = []

    def failing():
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("without noise")
        return model(X).square().mean()

    assert warned(lambda: pprs.smooth(failing, model, sigma=0.5), 1) == []
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_closure_may_name_torch_which_holds_generators():
    model = deep()

    def closure():
        with torch.enable_grad():
            return F.cross_entropy(model(X), Y)

    said = warned(lambda: pprs.smooth(closure, model, 0.1, seed=0), 1)
    assert len(said) == 1
    assert "too large" in said[0]


def test_random_data_of_the_closure_are_not_taken_for_too_large_a_sigma():
    said = 0
    for seed in range(60):
        torch.manual_seed(seed)
        model = nn.Linear(3, 1, bias=False)

        def closure(model=model):
            return model(torch.randn(4, 3)).square().mean()

        said += len(warned(lambda c=closure, m=model: pprs.smooth(c, m, 0.01, seed=0), 1))
    assert said <= 6  # about 30 where the loss without noise is taken once
