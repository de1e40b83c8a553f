"""The pieces of a model are compared with the model, in one process."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pprs.pipeline import chain
from pprs.pipeline.selfcheck.model_and_chain import ModelAndChain
from pprs.pipeline.selfcheck.model_check import UnlikeError, compare
from pprs.pipeline.selfcheck.quick_check import quick_check
from pprs.pipeline.selfcheck.rounding import relative_difference
from pprs.pipeline.selfcheck.sketch import sketch, sketched_difference

X, Y = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2])


class Net(nn.Module):
    """Two layers, and between them what a test asks for."""

    def __init__(self, between):
        super().__init__()
        self.body, self.middle, self.head = nn.Linear(4, 8), nn.Identity(), nn.Linear(8, 3)
        self.between, self.calls, self.generator = between, 0, np.random.default_rng(0)

    def forward(self, x):
        return self.head(self.middle(self.between(self, torch.tanh(self.body(x)))))


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def hooked(net, h):
    if h.requires_grad:
        h.register_hook(torch.neg)
    return h


def counted(net, h):
    net.calls += 1
    return h * net.calls


def python_chance(net, h):
    return h if random.random() < 0.999 else -h


def numpy_chance(net, h):
    return h + float(np.random.normal())  # as models do


def generator_of_its_own(net, h):
    return h + float(net.generator.normal())


def only_training(net, h):
    return 2 * h if net.training else h


def noise_in_training(net, h):
    return h + torch.randn_like(h) if net.training else h


def always_dropped(net, h):
    return F.dropout(h, 0.5, training=True)


def net(between=lambda net, h: h):
    torch.manual_seed(1)
    return Net(between)


def cut_without(between, instead=lambda net, h: h):
    """The pieces of a model that has something else between its layers when it is cut."""
    model = net(instead)
    pieces = chain(model, X)
    model.between = between
    return pieces


def refusal(pieces, y=Y, x=X, loss=F.cross_entropy):
    pair = ModelAndChain(pieces, loss)
    with pair.on((x,), y):
        assert quick_check(pair, gradients=True) is None
        with pytest.raises(UnlikeError) as raised:
            compare(pair)
    return str(raised.value)


def agree(pieces, *inputs, y=Y, loss=F.cross_entropy):
    pair = ModelAndChain(pieces, loss)
    with pair.on(inputs or (X,), y):
        return compare(pair)


@pytest.mark.parametrize("between", [lambda net, h: Reverse.apply(h), hooked])
def test_a_backward_of_its_own_that_tracing_loses_is_named(between):
    said = refusal(cut_without(between))
    assert "training mode the gradient of 'body.bias' " in said
    assert "that of 'head.weight' is right" in said


def test_so_is_a_hook_of_a_module():
    model = net()
    pieces = chain(model, X)
    model.middle.register_full_backward_hook(lambda module, after, before: (-before[0],))
    assert "the gradient of 'body.bias' differs by 200 %" in refusal(pieces)


def test_a_sign_is_seen_where_gradients_are_tiny():
    pieces = cut_without(lambda net, h: 1e-9 * Reverse.apply(h), lambda net, h: 1e-9 * h)
    assert "gradient of 'body.bias' differs by 200 %" in refusal(pieces)


@pytest.mark.parametrize(
    ("between", "whose"), [(python_chance, "Python's random"), (numpy_chance, "NumPy's generator")]
)
def test_numbers_that_tracing_fixed_are_refused_even_where_they_happen_to_agree(between, whose):
    assert f"training mode its forward draws from {whose}" in refusal(cut_without(between))


@pytest.mark.parametrize("between", [counted, generator_of_its_own])
def test_what_a_model_remembers_between_calls_is_refused(between):
    assert "is that of module 'middle' (Identity)" in refusal(cut_without(between))


@pytest.mark.parametrize(
    ("between", "instead"),
    [
        (only_training, lambda net, h: 2 * h),
        (noise_in_training, lambda net, h: h + torch.randn_like(h)),
    ],
)
def test_another_evaluation_mode_than_that_of_the_model_is_refused(between, instead):
    said = refusal(cut_without(between, instead))
    assert "in evaluation mode the first output" in said
    assert "module 'head' (Linear)" in said


def test_the_first_module_whose_output_differs_is_named():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(5)])
    pieces = chain(model)
    del pieces[2]
    said = refusal(pieces)
    assert "module '2' (Linear)" in said
    block = nn.Sequential(nn.Linear(4, 4))
    pieces = chain(nn.Sequential(nn.Linear(4, 4), block))
    block.register_forward_hook(lambda module, x, output: 2 * output)
    assert "module '1' (Sequential)" in refusal(pieces)


def test_a_missing_gradient_is_named():
    class Detached(nn.Module):
        def forward(self, x):
            return x.detach()

    model = nn.Sequential(nn.Linear(4, 4), Detached(), nn.Linear(4, 3))
    pieces = chain(model)
    model[1] = nn.Identity()
    assert "the gradient of '0.bias' is missing, while that of '2.weight' is right" in refusal(
        pieces
    )
    pieces = chain(net(), X)
    pieces[-1].register_forward_hook(lambda module, x, output: output.detach())
    assert "has none of its gradients" in refusal(pieces)


def test_a_buffer_that_is_changed_twice_is_named():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.count += 1
            return x

    pieces = chain(nn.Sequential(nn.Linear(4, 3), Counting()))
    pieces.append(pieces[1])
    assert "after two runs in training mode the buffer '1.count' differs" in refusal(pieces)


def test_a_chain_of_unknown_origin_is_not_compared():
    assert chain(nn.Sequential(nn.Linear(4, 3)))[:1].origin is None


def test_a_model_that_is_random_by_itself_is_not_blamed_on_the_cut():
    numbers = np.random.default_rng(0)

    class Own(nn.Module):
        def forward(self, x):
            return x + float(numbers.normal())

    agree(chain(nn.Sequential(nn.Linear(4, 4), Own(), nn.Linear(4, 3))))


def test_nothing_is_left_of_a_comparison():
    model = net()
    model.body.weight.grad = torch.ones(8, 4)
    steps = []
    model.body.weight.register_post_accumulate_grad_hook(steps.append)
    model.history = [1]
    model.register_buffer("level", torch.ones(2))

    def remembered(net, h):
        net.calls += 1
        net.history.append(len(net.history))
        net.level += 1
        net.extra = 3
        net.generator.normal()
        random.random()
        np.random.normal()
        return F.dropout(h)

    pieces = chain(model, X)
    model.between = remembered
    before = model.generator.bit_generator.state, random.getstate(), torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    parameters = {n: p.clone() for n, p in model.named_parameters()}
    calls = model.calls
    refusal(pieces)
    assert model.generator.bit_generator.state == before[0]
    assert random.getstate() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert (np.random.get_state()[1] == numpy_before).all()
    assert model.history == [1]
    assert model.calls == calls
    assert not hasattr(model, "extra")
    assert torch.equal(model.level, torch.ones(2))
    assert torch.equal(model.body.weight.grad, torch.ones(8, 4))
    assert model.head.weight.grad is None
    assert not steps
    assert model.body.weight._post_accumulate_grad_hooks
    assert model.training
    assert all(piece.training for piece in pieces)
    assert all(torch.equal(p, parameters[n]) for n, p in model.named_parameters())


def test_numbers_too_small_for_their_type_are_no_difference():
    small = torch.tensor([3e-45, 1e-44])
    assert relative_difference(small, small.flip(0)) == 0
    assert relative_difference(1e10 * small, 1e10 * small.flip(0)) > 0.1


def runs(pieces, loss=F.cross_entropy):
    """How often the model runs forward where nothing differs, and whether its pieces go back."""
    calls = []
    pair = ModelAndChain(pieces, loss)
    with pair.on((X,), Y):
        call = pair._call
        pair._call = lambda *inputs: calls.append(1) or call(*inputs)
        seen = quick_check(pair)
    assert seen is not None
    return len(calls), seen.right is None or seen.right.evaluating


def test_a_model_runs_no_more_often_than_it_takes_to_see_a_difference():
    torch.manual_seed(1)
    layers = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)
    assert runs(chain(nn.Sequential(*layers))) == (1, False)
    assert runs(chain(nn.Sequential(*layers).eval())) == (1, False)
    assert runs(chain(net(), X)) == (3, False)  # a trace: again, and in the other mode
    assert runs(chain(nn.Sequential(*layers, nn.Dropout()))) == (4, True)  # what it leaves there
    hooked = nn.Sequential(*layers)
    hooked[0].register_forward_hook(lambda module, x, output: 2 * output)
    assert runs(chain(hooked)) == (3, False)


def test_what_a_model_does_differently_from_its_second_run_on_is_seen():
    calls = []

    def later(net, h):
        calls.append(1)
        return h if len(calls) % 2 else -h

    pieces = cut_without(later)
    pair = ModelAndChain(pieces, F.cross_entropy)
    with pair.on((X,), Y):
        assert quick_check(pair) is None


def test_a_sketch_tells_gradients_apart_by_as_much_as_they_are():
    generator = torch.Generator().manual_seed(0)
    for shape in ((3,), (64, 64), (130, 100)):
        a, other = (torch.randn(shape, generator=generator) for _ in range(2))
        assert (
            sketched_difference(
                sketch(a.t() if a.dim() > 1 else a), sketch(a.t() if a.dim() > 1 else a)
            )
            == 0
        )
        for size in (1e-3, 0.1):
            found = sketched_difference(sketch(a + size * other), sketch(a))
            assert size / 3 < found < 3 * size
        assert sketched_difference(sketch(-a), sketch(a)) == pytest.approx(2)
        assert sketched_difference(None, sketch(a)) == pytest.approx(1)
        assert sketched_difference(None, sketch(0 * a)) == 0
        assert sketched_difference(sketch(a / 0), sketch(a)) == float("inf")
