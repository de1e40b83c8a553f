"""A pipeline compares itself with the model in its first step, on all processes alike."""

from typing import get_args

import pytest
import torch
import torch.distributed as dist
from pipeline.ranks import on_ranks
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from pprs.pipeline import Pipeline, ScheduleName, UnlikeError, chain
from pprs.pipeline.engine import Engine

pytestmark = [pytest.mark.dist, pytest.mark.slow]
X, Y = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
EXAMPLES = {"split": "examples", "microbatches": 4}
SMOOTHED = {"samples": 8, "sigma": 0.05, "microbatches": 4}


def layers(dtype=torch.float32):
    torch.manual_seed(1)
    halves = [[nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.5)] for _ in range(4)]
    parts = [nn.Linear(4, 8), *(layer for half in halves for layer in half), nn.Linear(8, 3)]
    return nn.Sequential(*parts).to(dtype)


def frozen():
    model = layers()
    model[1].requires_grad_(False)
    return model


def tied():
    model = layers()
    model[4].weight = model[1].weight
    return model


class Two(nn.Module):
    """Takes two tensors, gives two."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.words, self.body, self.head = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x, tokens):
        h = torch.tanh(self.body(x + self.words(tokens)))
        return self.head(h), h


def both_small(outputs, y):
    return mse_loss(outputs[0], torch.zeros_like(outputs[0])) + outputs[1].square().mean()


def said(network, loss=cross_entropy, x=X, autocast=False, **options):
    """What the first step says of the comparison, or what it refuses."""
    pipeline = Pipeline(network, loss, seed=0, **options)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            pipeline.step(x, Y)
    except UnlikeError as error:
        return str(error)
    return pipeline.checked


def fitting():
    for schedule in get_args(ScheduleName):
        yield schedule, said(layers(), schedule=schedule, **EXAMPLES)
        yield f"{schedule}, smoothed", said(layers(), schedule=schedule, **SMOOTHED)
    yield "float64", said(layers(torch.float64), x=X.double(), **EXAMPLES)
    yield "autocast", said(layers(), autocast=True, **EXAMPLES)
    yield "fitted", said(layers(), split="examples", microbatches="auto")
    yield "again", said(layers(), recompute=True, **EXAMPLES)
    yield "noise", said(layers(), noise="example", antithetic=True, scale="filter", **SMOOTHED)
    yield "copies", said(layers(), replicas=2, **EXAMPLES)
    yield "frozen", said(frozen(), **EXAMPLES)
    yield "tied", said(tied(), cut=["7"], **EXAMPLES)
    tokens = torch.arange(8) % 5
    two = {"example": (X, tokens), "x": (X, tokens)}
    yield "two", said(Two(), both_small, **two, **EXAMPLES)
    yield "chain", said(chain(Two(), X, tokens), both_small, x=(X, tokens), **EXAMPLES)


def wrong_on_last_rank(change):
    """Let the engine's gradients be changed after its steps."""
    run = Engine.run

    def changed(self, *arguments, **options):
        losses = run(self, *arguments, **options)
        if dist.get_rank() == 1:
            change(self.local[1].chain[-1].get_parameter("13.weight"))
        return losses

    Engine.run = changed
    try:
        return said(layers(), **EXAMPLES)
    finally:
        Engine.run = run


def negate(parameter):
    parameter.grad.neg_()


def drop(parameter):
    parameter.grad = None


def summed(outputs, y):
    return cross_entropy(outputs, y, reduction="sum")


class Keeping(nn.Linear):
    kept = None

    def forward(self, x):
        self.kept = super().forward(x)
        return self.kept


class Reading(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layers = [layer]  # no module of its own

    def forward(self, x):
        return x + self.layers[0].kept


class Twice(nn.Module):
    def forward(self, x):
        return x, x


class Writing(nn.Module):
    def forward(self, pair):
        return pair[0].mul_(2) + pair[1]


def past_the_cut(*more):
    """Models whose stages share more than what they pass on, maybe with other layers."""
    torch.manual_seed(1)
    keeping = Keeping(4, 4)
    attribute = nn.Sequential(keeping, nn.Tanh(), Reading(keeping), *more, nn.Linear(4, 3))
    with torch.no_grad():
        attribute(X[:2])  # leaves something in the attribute
    memory = nn.Sequential(nn.Linear(4, 4), Twice(), Writing(), *more, nn.Linear(4, 3))
    return (attribute, ["1"]), (memory, ["2"])


def unseen():
    for name, more in (("calm", []), ("noisy", [nn.Dropout()])):
        for kind, (model, cut) in zip(("attribute", "memory"), past_the_cut(*more), strict=True):
            yield f"{name} {kind}", said(model, cut=cut, samples=2, microbatches=1)


def misfitting():
    yield "sign", wrong_on_last_rank(negate)
    yield "missing", wrong_on_last_rank(drop)
    yield "sum", said(layers(), summed, **EXAMPLES)
    yield "sum of noisy", said(layers(), summed, noise="example", **SMOOTHED)
    yield "whole batches", said(layers(), summed, **SMOOTHED)
    reverse = layers()
    pieces = chain(reverse)
    pieces[1].register_full_backward_hook(lambda module, after, before: (-after[0],))
    yield "hook", said(pieces, **EXAMPLES)
    yield "off", said(pieces, check=False, **EXAMPLES)
    slices = chain(layers())[:]
    yield "unknown", said(slices, **EXAMPLES)


def steps_of(check):
    """Losses and gradients of two steps, after which random numbers are drawn."""
    torch.manual_seed(3)
    pipeline = Pipeline(layers(), cross_entropy, seed=0, check=check, **EXAMPLES)
    x = X.clone().requires_grad_()
    losses = [pipeline.step(x, Y) for _ in range(2)]
    gradients = {n: p.grad for n, p in pipeline.named_parameters().items()}
    return losses, gradients, torch.rand(3), pipeline.local[dist.get_rank()].training, x.grad


def worker():
    wrong = dict(misfitting()) | dict(unseen())
    return dict(fitting()), wrong, [steps_of(check) for check in (True, False)]


@pytest.fixture(scope="module")
def ranks():
    return on_ranks(2, worker)


def test_what_is_right_is_let_through(ranks):
    for found, _, _ in ranks:
        assert len(found) == 2 * len(get_args(ScheduleName)) + 10
        for case, sentence in found.items():
            assert sentence.startswith("compared the cut model with yours"), (case, sentence)


def test_a_gradient_that_the_engine_gets_wrong_is_named_on_all_processes(ranks):
    for _, found, _ in ranks:
        assert "the gradient of '13.weight' (stage 1) differs by 200 %" in found["sign"]
        assert "the gradient of '13.weight' (stage 1) is missing" in found["missing"]
        assert "schedule='gpipe'" in found["missing"]


def test_a_loss_that_is_no_mean_over_examples_is_refused_where_it_has_to_be_one(ranks):
    for _, found, _ in ranks:
        assert found["sum"].startswith('split="examples" needs a loss that is a mean')
        assert found["sum of noisy"].startswith('noise="example" needs a loss that is a mean')
        assert "with yours" in found["whole batches"]


def test_a_cut_that_is_wrong_is_refused_on_all_processes_unless_that_is_meant(ranks):
    for _, found, _ in ranks:
        assert "the gradient of '0.bias' differs by 200 %" in found["hook"]
        assert found["off"] == ""
        assert "was not compared with yours" in found["unknown"]


@pytest.mark.parametrize("mode", ["calm", "noisy"])
@pytest.mark.parametrize("kind", ["attribute", "memory"])
def test_what_reaches_a_later_stage_past_the_cut_is_refused(ranks, mode, kind):
    for _, found, _ in ranks:
        assert "something reaches a later stage otherwise" in found[f"{mode} {kind}"]


def test_a_comparison_changes_nothing_of_the_training(ranks):
    for _, _, (checked, plain) in ranks:
        for a, b in zip(checked[0], plain[0], strict=True):
            assert a == b
        assert checked[1].keys() == plain[1].keys()
        assert all(torch.equal(checked[1][name], plain[1][name]) for name in plain[1])
        assert torch.equal(checked[2], plain[2])
        assert checked[3]
        assert checked[4] is plain[4] is None
