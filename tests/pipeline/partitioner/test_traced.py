"""A traced model keeps its backward, its buffers, its modes and the form of what it gives."""

import copy
import random
from collections import namedtuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_flatten
from torch.utils.checkpoint import checkpoint

import pprs
from pprs.pipeline.partitioner.chain import chain, full_names

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
Pair = namedtuple("Pair", "a b")


class Net(nn.Module):
    """Three linear maps and two buffers, put together by a function of the model and x."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.norm, self.drop = nn.BatchNorm1d(6).eval(), nn.Dropout()
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("count", torch.zeros(()))
        self.seen, self.number, self.run = torch.zeros(6), 0, forward

    def forward(self, x):
        return self.run(self, x)


def traced(forward, **options):
    torch.manual_seed(0)
    model = Net(forward)
    return model, chain(model, X.clone(), **options)


def gradients(output, parameters):
    for parameter in parameters:
        parameter.grad = None
    output.pow(2).sum().backward()  # a reentrant checkpoint knows no torch.autograd.grad
    return [parameter.grad for parameter in parameters]


def same(model, pieces):
    """Whether outputs, gradients and buffers of two calls are those of the model."""
    model = copy.deepcopy(model)
    named = dict(model.named_parameters())
    for _ in range(2):
        results = []
        for run, own in ((model, named), (pieces, full_names(pieces))):
            torch.manual_seed(1)
            output = run(X.clone())
            results.append([output, *gradients(output, [own[n] for n in full_names(pieces)])])
        if not all(map(torch.equal, *results)):
            return False
    state = dict(model.named_buffers())
    return all(
        torch.equal(value, state[name])
        for piece in pieces
        for name, value in piece.named_buffers()
        if name in state
    )


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.factor * gradient, None


class Holding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):
        return layer(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def reentrant(m, x):
    h = m.a(x)
    h = h + checkpoint(m.b, h, use_reentrant=True)
    return m.c(h + checkpoint(m.b, h, use_reentrant=False))


def replaced(m, x):
    h, old = m.a(x), m.mean
    m.mean = 0.9 * m.mean + h.detach().mean(0)
    m.count += 1
    return m.c(m.b(h) * m.mean + old) * m.count


def kept_in_an_attribute(m, x):
    h = m.a(x)
    m.seen = 0.5 * m.seen + h.detach().mean(0)
    return m.c(m.b(h) - m.seen)


def changed_in_place(m, x):
    doubled = 2 * x
    x.add_(1)
    h = m.a(doubled)
    m.mean.mul_(0.9).add_(h.detach().mean(0))
    h += m.mean
    return m.c(m.b(h)) + x


def chunked(m, x):
    for layer in (m.a, m.b, m.c):
        left, right = layer(x).chunk(2, dim=1)
        x = torch.cat([right, left.tanh()], 1)
    return x


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.c(Reverse.apply(m.b(m.a(x)), 3.0)),
        lambda m, x: m.c(Reverse.apply(m.b(m.a(x)), x.shape[0])),
        reentrant,
        replaced,
        kept_in_an_attribute,
        changed_in_place,
        chunked,
    ],
    ids=["function", "of a size", "checkpoints", "replaced", "attribute", "in place", "chunk"],
)
def test_what_python_does_in_a_forward_is_in_every_piece_that_needs_it(forward):
    model, pieces = traced(forward, largest=1)
    assert len(pieces) >= (2 if forward is replaced else 3)  # its buffer is used up to the end
    assert same(model, pieces)


def with_random(m, x):
    return m.a(x) * random.random()


def with_numpy(m, x):
    return m.a(x) * np.random.rand()


def with_a_tensor_hook(m, x):
    h = m.a(x)
    h.register_hook(lambda gradient: -gradient)
    return m.b(h)


def counting(m, x):
    m.number += 1
    return m.a(x) * m.number


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (with_random, "draws from Python's random"),
        (with_numpy, "draws from numpy.random"),
        (with_a_tensor_hook, "registers a hook on a tensor, with_a_tensor_hook"),
        (counting, "changes the number 'number' of a Net"),
        (lambda m, x: Holding.apply(m.a(x), m.b), "Holding.apply is given a Linear"),
    ],
)
def test_what_a_trace_would_lose_is_refused(forward, said):
    with pytest.raises(ValueError, match=said):
        traced(forward)


def test_a_backward_hook_of_a_module_is_refused():
    model = Net(lambda m, x: m.b(m.a(x)))
    model.b.register_full_backward_hook(lambda module, into, out: None)
    with pytest.raises(ValueError, match="Linear 'b' has a backward hook, which tracing would"):
        chain(model, X)


@pytest.mark.parametrize(
    "give",
    [
        lambda h: (h,),
        lambda h: [h, h],
        lambda h: {"h": h, "more": [None, h.argmax(1)]},
        lambda h: Pair(h, torch.ones(3)),
        lambda h: (h, h.detach()),
    ],
    ids=["one", "twice", "dictionary", "named", "no gradient"],
)
def test_what_a_model_gives_keeps_its_form(give):
    model, pieces = traced(lambda m, x: give(m.b(m.a(x))))
    (right, form), (found, same_form) = tree_flatten(model(X)), tree_flatten(pieces(X))
    assert form == same_form
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(right, found, strict=True))


@pytest.mark.parametrize("start", [True, False], ids=["traced in training", "in evaluation"])
@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.b(F.dropout(m.a(x), 0.5, training=True)),
        lambda m, x: m.b(m.drop(F.dropout(m.a(x), 0.2))),
        lambda m, x: m.b(F.dropout(m.a(x), 0.5, m.training, inplace=True)),
        lambda m, x: m.b(F.dropout(m.a(x), 0.5 if m.training else 0.1)),
        lambda m, x: m.b(m.norm(m.a(x))) * (2.0 if m.training else 3.0),
    ],
    ids=["always", "always and at times", "as the mode", "its share", "a factor"],
)
def test_both_modes_are_the_models(forward, start):
    torch.manual_seed(0)
    model = Net(forward).train(start)
    model.norm.eval()
    pieces = chain(model, X)
    assert not pieces.fixed
    for mode in (True, False, True):
        model.train(mode)
        model.norm.eval()
        pieces.train(mode)
        torch.manual_seed(1)
        right = model(X)
        torch.manual_seed(1)
        assert torch.equal(pieces(X), right)


def test_a_mode_that_the_trace_does_not_have_is_known():
    def branching(m, x):
        return m.b(m.a(x)) + (m.c(x) if m.training else 0)

    model, pieces = traced(branching)
    assert pieces.fixed
    assert model.training
    assert not model.norm.training  # as it was


def test_an_example_leaves_buffers_and_random_numbers_as_they_were():
    model, _ = traced(replaced)
    assert torch.equal(model.mean, torch.zeros(6))
    before = torch.get_rng_state()
    chain(model, X)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # torch.export's
def test_a_trace_leaves_no_attribute_in_the_model():
    def noted(net, x):
        net.penalty = net.a(x).square().mean()
        net.seen = net.a(x).detach().mean(0)
        return net.b(net.a(x))

    model = Net(noted)
    before = model.seen
    chain(model, X.clone())
    assert not hasattr(model, "penalty")
    assert model.seen is before


def test_more_stages_than_places_cut_a_model_finer():
    def skipping(m, x):
        first = m.a(x)
        return m.c(m.b(first).tanh()) + first

    assert len(traced(skipping)[1]) < 3
    model, pieces = traced(skipping, stages=3)
    assert len(pieces) == 3
    assert same(model, pieces)


def test_a_buffer_that_changes_is_in_one_piece_and_takes_no_place_to_cut():
    def averaging(m, x):
        first = m.a(x)
        m.mean = 0.9 * m.mean + 0.1 * first.detach().mean(0)
        return m.c(m.b(first - m.mean).tanh())

    model, pieces = traced(averaging, stages=3)
    assert [list(dict(piece.named_buffers())) for piece in pieces] == [["mean"], [], []]
    assert same(model, pieces)

    def late(m, x):
        first = m.a(x) + m.mean
        second = m.b(first)
        m.mean = 0.9 * m.mean + 0.1 * second.detach().mean(0)
        return m.c(second)

    model, pieces = traced(late, stages=3)
    assert sum("mean" in dict(piece.named_buffers()) for piece in pieces) == 1
    assert same(model, pieces)


def smooth(pieces, output):
    pprs.smooth(lambda: output(pieces(X)), pieces, 0.1, 2, seed=0, unused="allow").backward()


def test_under_autocast_and_noise_a_piece_gives_the_types_of_the_model():
    cases = (
        lambda m, x: m.norm(m.a(x)),
        lambda m, x: F.layer_norm(m.a(x), (6,), m.b.bias),
        lambda m, x: F.cross_entropy(m.a(x), x.softmax(-1)),
        lambda m, x: torch.cdist(m.a(x), m.b(x)),
    )
    for forward in cases:
        model, pieces = traced(forward)
        types = []
        with torch.autocast("cpu", torch.bfloat16):
            smooth(pieces, lambda y, types=types: types.append(y.dtype) or y.float().sum())
            assert types[0] == model(X).dtype


def test_changing_in_place_what_all_perturbations_share_is_refused_in_a_trace_too():
    def adding(m, x):
        first = x.clone()
        first += m.a.bias
        return m.b(first)

    with pytest.raises(RuntimeError, match="which all perturbations share.*x = x \\+ y"):
        smooth(traced(adding)[1], torch.sum)
