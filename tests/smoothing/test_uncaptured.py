"""What no recording can hold runs as in `smooth`, or is refused in a sentence."""

import random
import warnings

import pytest
import torch
from smoothing.captured import FILTERS, assert_same, batches, by_smooth, gradients, mlp, taken
from torch import nn
from torch.nn import functional as F

import pprs


def test_a_number_that_changes_unseen_is_found_out():
    model, settings = mlp(16, 3), {"of": {"weight": 1.0}}

    def closure(x, y):
        return settings["of"]["weight"] * F.cross_entropy(model(x), y)

    gradient = pprs.capture(closure, model, FILTERS)
    (x, y), *_ = batches(1)
    gradient(x, y)
    settings["of"]["weight"] = 2.0
    model.zero_grad()
    with pytest.raises(RuntimeError, match="recorded closure gives the loss .* of the batch, or"):
        gradient(x, y)
    assert gradients(model) == [None, None]


def same_as_smooth_with_a_warning(closure, model, match, perturbation=FILTERS, calls=3):
    gradient = pprs.capture(closure, model, perturbation, seed=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, (x, y) in enumerate(batches(calls)):
            found = taken(model, gradient, x, y)
            assert_same(found, by_smooth(model, closure, (x, y), step, perturbation))
    assert len(caught) == 1
    assert caught[0].filename == taken.__code__.co_filename
    assert "which is slower" in str(caught[0].message)
    assert match in str(caught[0].message)
    assert match in gradient.uncaptured


def test_what_cannot_be_recorded_runs_as_in_smooth_and_that_is_said_once():
    model = mlp(16, 3)
    same_as_smooth_with_a_warning(
        lambda x, y: F.cross_entropy(model(x), y) * (2 if bool((x > 0).any()) else 1),
        model,
        "torch cannot record it",
    )


@pytest.mark.skipif(torch.get_default_device().type != "cuda", reason="of CUDA graphs")
def test_a_graph_that_fails_leaves_torch_as_it_was():
    model = mlp(16, 3)

    def closure(x, y):
        torch.cuda.synchronize()
        return F.cross_entropy(model(x), y)

    same_as_smooth_with_a_warning(closure, model, "torch cannot record it")
    torch.manual_seed(5)
    first = torch.rand(3)
    torch.manual_seed(5)
    torch.testing.assert_close(torch.rand(3), first, rtol=0, atol=0)


def test_a_closure_that_changes_a_buffer_runs_as_in_smooth():
    model = mlp(16, 3)
    model.register_buffer("calls", torch.zeros(()))

    def closure(x, y):
        model.calls += 1
        return F.cross_entropy(model(x), y)

    same_as_smooth_with_a_warning(closure, model, "it changes buffer 'calls'")


class Moving(nn.Module):
    """Takes off a moving average of what it has seen, which it sets anew each time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.average = nn.Linear(16, 3), torch.zeros(16)

    def forward(self, x):
        self.average = 0.9 * self.average + 1e-4 * x.mean(0)
        return self.layer(x - self.average)


class Counting:
    """Weighs the loss by how often it was asked for."""

    def __init__(self, model):
        self.model, self.calls = model, 0

    def loss(self, x, y):
        self.calls += 1
        return (1 + self.calls / 1e4) * F.cross_entropy(self.model(x), y)


def drawing(model):
    return lambda x, y: F.cross_entropy(model(x * (1 + 1e-4 * random.random())), y)


def masked(model):
    return lambda x, y: F.cross_entropy(model(x[x[:, 0] > 0]), y[x[:, 0] > 0])


def reading(model, scale):
    return lambda x, y: float(scale) * F.cross_entropy(model(x), y)


UNRECORDED = {
    "an average": (Moving, lambda m: lambda x, y: F.cross_entropy(m(x), y), "'average'"),
    "a count": (lambda: mlp(16, 3), lambda m: Counting(m).loss, "changes numbers"),
    "random": (lambda: mlp(16, 3), drawing, "random numbers of Python"),
    "a mask": (lambda: mlp(16, 3), masked, "shape depends on values"),
    "a value": (lambda: mlp(16, 3), lambda m: reading(m, torch.ones(())), "gives Python"),
}


@pytest.mark.parametrize("case", UNRECORDED)
@pytest.mark.skipif(torch.get_default_device().type == "cuda", reason="of what a CPU can tell")
def test_what_changes_outside_the_recording_runs_as_in_smooth_however_little(case):
    make, close, match = UNRECORDED[case]
    found = []
    for take in ("smooth", "capture"):
        model = make()
        closure = close(model)
        gradient = pprs.capture(closure, model, FILTERS, seed=3)
        random.seed(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found += [
                by_smooth(model, closure, batch, step)
                if take == "smooth"
                else taken(model, gradient, *batch)
                for step, batch in enumerate(batches(7))
            ]
        assert [match in str(warning.message) for warning in caught] == [True] * (take == "capture")
    torch.testing.assert_close(found[:7], found[7:], rtol=0, atol=0)


def test_what_a_tensor_outside_the_model_would_learn_is_not_left_out():
    model, scale = mlp(16, 3), torch.ones(3, requires_grad=True)
    same_as_smooth_with_a_warning(
        lambda x, y: F.cross_entropy(scale * model(x), y), model, "1 tensors that are not"
    )
    assert scale.grad is not None


@pytest.mark.skipif(torch.get_default_device().type == "cuda", reason="CUDA graphs take both")
def test_what_torch_cannot_run_again_runs_as_in_smooth():
    torch.manual_seed(0)
    recurrent = nn.LSTM(16, 3)
    same_as_smooth_with_a_warning(
        lambda x, y: F.cross_entropy(recurrent(x)[0], y), recurrent, "gives no gradient"
    )
    sparse = nn.Embedding(7, 3, sparse=True)
    gradient = pprs.capture(lambda x: sparse(x).square().mean(), sparse, 0.1)
    with pytest.warns(UserWarning, match="gives no gradient"):
        gradient(torch.arange(5))
    assert sparse.weight.grad.is_sparse


def test_a_batch_that_is_none_is_refused_as_in_smooth():
    model = mlp(16, 3)
    gradient = pprs.capture(lambda x, y: F.cross_entropy(model(x), y), model, FILTERS)
    with pytest.raises(ValueError, match="batch must be a sequence of tensors, got tuple of"):
        gradient(torch.ones(5, 16), [1, 2])


def test_sigma_that_changes_in_each_step_runs_as_in_smooth(monkeypatch):
    monkeypatch.setattr("pprs.smoothing._recordings._MOST", 2)
    model = mlp(16, 3)
    same_as_smooth_with_a_warning(
        lambda x, y: F.cross_entropy(model(x), y),
        model,
        "it met other sigmas again",
        pprs.Perturbation(lambda step: 0.1 / (step + 1), samples=4),
        calls=4,
    )


def test_a_loss_that_is_not_finite_leaves_gradients_as_they_were():
    model = mlp(16, 3)
    gradient = pprs.capture(lambda x, y: F.cross_entropy(model(x), y), model, FILTERS)
    (x, y), *others = batches(3)
    gradient(x, y)
    gradient(*others[0])
    before = gradients(model)
    with pytest.raises(RuntimeError, match="not finite at 4 of 4"):
        gradient(x * torch.inf, y)
    torch.testing.assert_close(gradients(model), before)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sigma": -1.0}, "sigma"),
        ({"unused": "perhaps"}, "unused must be"),
        ({"samples": 0, "sigma": 0.1}, "samples"),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(arguments, said):
    model = mlp(16, 3)
    with pytest.raises(ValueError, match=said):
        pprs.capture(lambda x: model(x).sum(), model, **arguments)
