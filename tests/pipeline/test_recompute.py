import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from pprs.pipeline import chain, full_names
from pprs.pipeline.recompute import recomputed
from pprs.pipeline.stage import PerturbedStage
from pprs.smoothing import Perturbation


def stage(recompute, law=None, dropout=0.0):
    torch.manual_seed(0)
    layers = [
        layer
        for _ in range(4)
        for layer in (nn.Linear(5, 5, dtype=torch.float64), nn.Tanh(), nn.Dropout(dropout))
    ]
    whole = chain(nn.Sequential(*layers))
    names = list(full_names(whole))
    return PerturbedStage(whole, law or Perturbation(0.1, 3), names, seed=1, recompute=recompute)


def gradients(part, between=lambda part: None):
    torch.manual_seed(5)
    x = torch.linspace(-1, 1, 30, dtype=torch.float64).reshape(3, 2, 5).requires_grad_()
    y = part(x, microbatch=torch.tensor([2]))
    between(part)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in part.parameters())]


def test_a_stage_that_runs_again_gives_the_same_gradients():
    laws = (
        Perturbation(0.1, 3),
        Perturbation(0.1, 3, noise="example"),
        Perturbation(0.0, 3),
        Perturbation(lambda t: 0.1 / (1 + t), 3),
    )
    for law in laws:
        for a, b in zip(gradients(stage(False, law)), gradients(stage(True, law)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_it_draws_the_noise_and_drops_the_values_of_the_first_time():
    def later(part):
        part.step += 1  # other microbatches, and steps, come in between
        torch.rand(7)

    plain = gradients(stage(False, dropout=0.5))
    again = gradients(stage(True, dropout=0.5), later)
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(plain[1], gradients(stage(False))[1])


def kept(part):
    sizes = []
    x = torch.ones(3, 2, 5, dtype=torch.float64, requires_grad=True)
    with saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        part(x, microbatch=torch.tensor([0]))
    parameters = sum(p.numel() for p in part.parameters())
    return sum(sizes), 30 + parameters


def test_nothing_but_inputs_and_parameters_is_kept():
    size, bare = kept(stage(True))
    assert size == bare
    assert kept(stage(False))[0] > 2 * bare


def test_autocast_is_that_of_the_first_time():
    layer = nn.Linear(4, 4)
    seen = []

    def run(x):
        y = layer(x)
        seen.append(y.dtype)
        return y

    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = recomputed(run, [torch.ones(2, 4, requires_grad=True)], list(layer.parameters()))
    y.float().sum().backward()
    assert seen == [torch.bfloat16, torch.bfloat16]
    assert layer.weight.grad.dtype == torch.float32


def test_several_results_of_which_some_have_no_gradient():
    x = torch.ones(3, requires_grad=True)
    double, index = recomputed(lambda x: (2 * x, torch.arange(3)), [x], [])
    assert not index.requires_grad
    double.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_a_reentrant_checkpoint_in_what_runs_again_is_refused_in_a_sentence():
    layer = nn.Linear(4, 4)
    x = torch.ones(2, 4, requires_grad=True)
    y = recomputed(lambda x: checkpoint(layer, x, use_reentrant=True), [x], [*layer.parameters()])
    with pytest.raises(RuntimeError, match=r"use_reentrant=False there, or leave recompute=True"):
        y.sum().backward()
