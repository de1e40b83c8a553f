"""Both halves of a backward together are the whole of it."""

import pytest
import torch
from torch import nn

from pprs.pipeline.split_backward import backward_by_inputs


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def towers(layers, x, z):
    """The second tower acts on what needs no gradient."""
    return [layers[2](layers[0](x).tanh() + layers[1](z).tanh())]


def behind_frozen(layers, x, z):
    return [layers[1](layers[0](z).tanh())]


def tied(layers, x, z):
    """One layer three times, and another one between."""
    return [layers[0](layers[1](layers[0](x).tanh()) * layers[0](z))]


def some_without_input(layers, x, z):
    """Results of which one depends on no input, and is itself used for the other."""
    alone = layers[1](z)
    return [alone, layers[0](x) * alone.tanh()]


def hooked(layers, x, z):
    y = layers[0](x)
    y.register_hook(lambda gradient: 3 * gradient)
    return [layers[1](y)]


def conditioned(layers, x, z):
    """What needs no gradient is used at several places on the way."""
    c = layers[0](z)
    return list((layers[1](x + c).relu() + c).chunk(2, 1))


CASES = [towers, behind_frozen, tied, some_without_input, hooked, conditioned]


def layers_and_inputs():
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)).double()
    x, z = torch.randn(2, 3, 4, dtype=torch.float64)
    return layers, x.requires_grad_(), z


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_halves_give_what_torch_gives_at_once(case):
    layers, x, z = layers_and_inputs()
    gradients = [torch.randn_like(y) for y in case(layers, x, z)]
    torch.autograd.backward(case(layers, x, z), gradients)
    whole = [x.grad, *(p.grad for p in layers.parameters())]
    layers, x, z = layers_and_inputs()
    for _ in range(2):  # the parameters' gradients add up
        found, parts = backward_by_inputs(case(layers, x, z), gradients, [x, z, "no tensor"])
        assert found[1:] == (None, None)
        for part in parts:
            part.backward()
    halves = [found[0], *(p.grad if p.grad is None else p.grad / 2 for p in layers.parameters())]
    for half, right in zip(halves, whole, strict=True):
        assert (half is None) == (right is None)
        if right is not None:
            torch.testing.assert_close(half, right, rtol=1e-12, atol=1e-12)


def test_the_first_half_does_nothing_for_parameters():
    layers, x, z = layers_and_inputs()
    backward_by_inputs(towers(layers, x, z), None, [x, z])
    assert all(p.grad is None for p in layers.parameters())


def test_what_has_a_backward_of_its_own_is_not_divided():
    layers, x, z = layers_and_inputs()
    assert backward_by_inputs([layers[0](Twice.apply(layers[1](x)))], None, [x, z]) is None
