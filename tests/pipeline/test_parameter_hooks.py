"""Hooks of parameters see the gradient of a whole step, as in plain torch."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.pipeline import Pipeline

X, Y = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
SCHEDULES = ["looped-bfs", "interleaved-zero-bubble"]


@pytest.fixture(scope="module", autouse=True)
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def two_alike():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4))
    return model, copy.deepcopy(model)


def stepped(model, times=1, **options):
    both = dict(split="examples", microbatches=4, stages_per_rank=2, seed=0)
    pipeline = Pipeline(model, F.mse_loss, **both | options)
    for number in range(times):
        pipeline.step(X, Y, accumulate=number > 0)


def squared(parameter):
    parameter.grad.square_()


def same(one, two):
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return all(torch.allclose(p.grad, q.grad, rtol=1e-4) for p, q in pairs)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_changes_gradients_gets_those_of_the_batch(schedule):
    model, plain = two_alike()
    for parameter in (*model.parameters(), *plain.parameters()):
        parameter.register_hook(lambda grad: grad.clamp(-0.02, 0.02))
        parameter.register_post_accumulate_grad_hook(squared)
    stepped(model, 2, schedule=schedule)
    for _ in range(2):
        F.mse_loss(plain(X), Y).backward()
    assert same(model, plain)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_optimizer_in_the_backward_takes_one_step(schedule):
    def descending(parameter):
        parameter.data.add_(parameter.grad, alpha=-0.1)
        parameter.grad = None

    model, plain = two_alike()
    for parameter in (*model.parameters(), *plain.parameters()):
        parameter.register_post_accumulate_grad_hook(descending)
    stepped(model, schedule=schedule)
    F.mse_loss(plain(X), Y).backward()
    for moved, right in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(moved, right)


@pytest.mark.parametrize("backward", [False, True], ids=["together", "one by one"])
def test_pprs_runs_hooks_once_on_the_mean_gradient(backward):
    model, plain = two_alike()
    for parameter in (*model.parameters(), *plain.parameters()):
        parameter.register_hook(lambda grad: grad.clamp(-0.02, 0.02))
        parameter.register_post_accumulate_grad_hook(squared)
    seen = []
    model[0].weight.register_hook(seen.append)
    optimizer = pprs.PPRS(model, 0.0, sigma=1e-9, samples=3)

    def usual():
        optimizer.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    optimizer.step(usual if backward else lambda: F.mse_loss(model(X), Y))
    F.mse_loss(plain(X), Y).backward()
    assert same(model, plain)
    assert len(seen) == 1


def test_a_hook_that_the_closure_removes_is_gone():
    model, _ = two_alike()
    seen = []
    handle = model[0].weight.register_hook(seen.append)
    optimizer = pprs.PPRS(model, 0.0, sigma=0.1, samples=2)

    def closure():
        handle.remove()
        return F.mse_loss(model(X), Y)

    optimizer.step(closure)
    optimizer.step(closure)
    assert seen == []
    assert not model[0].weight._backward_hooks
