"""A recorded closure gives what `smooth` gives, with fresh noise, or says why it does not."""

import copy
import itertools
import random
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pprs
from pprs.smoothing import derive_seed

FILTERS = pprs.Perturbation.filter(0.05, samples=4)


def mlp(*widths):
    torch.manual_seed(0)
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutions():
    torch.manual_seed(0)
    body = nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten()
    return nn.Sequential(nn.Unflatten(1, (1, 4, 4)), *body, nn.Linear(64, 3))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(7, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(self.embedding(x)).mean(1))


def batches(count, m=5, width=16):
    generator = torch.Generator(device="cpu").manual_seed(1)
    for _ in range(count):
        x = torch.randn(m, width, generator=generator, device="cpu")
        yield x.to(torch.get_default_device()), torch.arange(m) % 3


def gradients(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def taken(model, take, *batch):
    model.zero_grad()
    loss = take(*batch)
    return loss, gradients(model)


def by_smooth(model, closure, batch, step, perturbation=FILTERS):
    model.zero_grad()
    loss = pprs.smooth(closure, model, perturbation, batch=batch, seed=3, step=step)
    loss.backward()
    return loss.detach(), gradients(model)


def assert_same(found, expected):
    # The same kernels; on a CUDA device some add in any order.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


CASES = {
    "few rows": (lambda: mlp(16, 24, 3), FILTERS),
    "many rows": (lambda: mlp(16, 24, 3), pprs.Perturbation(0.1, samples=50)),
    "pairs": (lambda: mlp(16, 24, 3), pprs.Perturbation(0.1, samples=4, antithetic=True)),
    "each example": (lambda: mlp(16, 24, 3), pprs.Perturbation.filter(0.1, 4, noise="example")),
    "by name": (lambda: mlp(16, 24, 3), pprs.Perturbation({"0": 0.1, "2": 0.0}, samples=4)),
    "one layer": (lambda: mlp(16, 3), FILTERS),
    "float64": (lambda: mlp(16, 24, 3).double(), FILTERS),
    "convolutions": (convolutions, FILTERS),
    "attention": (Attention, FILTERS),
}


@pytest.mark.parametrize("case", CASES)
def test_each_call_gives_what_smooth_gives_at_its_step(case):
    make, perturbation = CASES[case]
    model = make()

    def closure(x, y):
        return F.cross_entropy(model(x), y)

    gradient = pprs.capture(closure, model, perturbation, seed=3)
    for step, (x, y) in enumerate(batches(6)):
        if case == "attention":
            x = (x.abs() * 10).long() % 7  # noqa: PLW2901
        x = x.double() if case == "float64" else x  # noqa: PLW2901
        loss, found = taken(model, gradient, x, y)
        expected = by_smooth(model, closure, (x, y), step, perturbation)
        assert_same((loss, found), expected)
        with torch.no_grad():  # and the next call is at other parameters
            for parameter, of_it in zip(model.parameters(), found, strict=True):
                parameter.sub_(of_it, alpha=0.1)
    assert gradient.uncaptured is None
    assert len(gradient._recordings) == 1


def test_only_calls_1_2_4_8_run_the_closure_again():
    model, calls = mlp(16, 8, 3), []

    def closure(x, y):
        calls.append(len(x))
        return F.cross_entropy(model(x), y)

    gradient, ran = pprs.capture(closure, model, FILTERS, check=False), []
    for x, y in batches(9):
        before = len(calls)
        gradient(x, y)
        ran.append(len(calls) > before)
    assert ran == [True, True, False, True, False, False, False, True, False]


def test_gradients_add_up_until_they_are_cleared():
    model = mlp(16, 8, 3)
    gradient = pprs.capture(lambda x, y: F.cross_entropy(model(x), y), model, FILTERS, seed=3)
    (x, y), *others = batches(4)
    gradient(x, y)
    single = []
    for x, y in others:
        before = gradients(model)
        gradient(x, y)
        single.append([after - b for after, b in zip(gradients(model), before, strict=True)])
    other = pprs.capture(lambda x, y: F.cross_entropy(model(x), y), model, FILTERS, seed=3)
    for number, (x, y) in enumerate(batches(4)):
        _, alone = taken(model, other, x, y)
        if number:
            torch.testing.assert_close(single[number - 1], alone, rtol=1e-3, atol=1e-5)


def test_gradients_that_are_equal_do_not_share_their_memory():
    model = nn.Module()
    for name in "abc":
        model.register_parameter(name, nn.Parameter(torch.ones(3)))
    sigmas = {"a": 0.1, "b": 0.0, "c": 0.0}
    gradient = pprs.capture(
        lambda x: (model.a * x).mean() + (model.b + model.c).mean(), model, sigma=sigmas
    )
    for _ in range(3):
        model.zero_grad()
        gradient(torch.ones(3))
    model.b.grad.mul_(2)
    torch.testing.assert_close(2 * model.c.grad, model.b.grad)


def test_other_shapes_modes_and_numbers_are_recorded_anew():
    model = nn.Sequential(mlp(16, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    weight = 1.0

    def closure(x, y):
        return weight * F.cross_entropy(model(x), y)

    gradient = pprs.capture(closure, model, FILTERS, seed=3)
    model.eval()
    for step, m in enumerate((5, 5, 5, 4, 4, 4)):
        weight = 1.0 if step % 3 < 2 else 2.0
        (x, y), *_ = batches(1, m)
        assert_same(taken(model, gradient, x, y), by_smooth(model, closure, (x, y), step))
    assert len(gradient._recordings) == 4
    model.train()
    gradient(x, y)
    assert len(gradient._recordings) == 5
    model[2] = nn.Linear(8, 3)
    gradient(x, y)
    model[2].bias.requires_grad_(False)
    gradient(x, y)
    assert len(gradient._recordings) == 7
    assert model[2].bias.grad is not None  # from before it was frozen


def test_layers_draw_anew_in_each_run():
    model = nn.Sequential(mlp(16, 30), nn.Dropout(0.5), nn.Linear(30, 3))
    gradient = pprs.capture(lambda x, y: F.cross_entropy(model(x), y), model, 1e-9, samples=1)
    (x, y), *_ = batches(1)
    losses = {float(gradient(x, y)) for _ in range(8)}
    assert len(losses) == 8


def test_tensors_that_the_closure_holds_are_read_in_each_run():
    model = mlp(16, 3)
    model.register_buffer("shift", torch.zeros(3))
    scale = torch.ones(())

    def closure(x, y):
        return scale * F.cross_entropy(model(x) + model.shift, y)

    gradient = pprs.capture(closure, model, FILTERS, seed=3)
    for step, (x, y) in enumerate(batches(4)):
        scale.fill_(step + 1.0)
        model.shift[0] = step
        assert_same(taken(model, gradient, x, y), by_smooth(model, closure, (x, y), step))
    assert len(gradient._recordings) == 1


def test_autocast_around_the_call_holds_for_the_recording_as_well():
    model = mlp(16, 24, 3)

    def closure(x, y):
        return F.cross_entropy(model(x), y)

    gradient = pprs.capture(closure, model, FILTERS, seed=3)
    kind = torch.get_default_device().type
    for step, (x, y) in enumerate(batches(6)):
        with torch.autocast(kind, torch.bfloat16, enabled=step >= 3):
            found = taken(model, gradient, x, y)
            expected = by_smooth(model, closure, (x, y), step)
        assert_same(found, expected)
    assert len(gradient._recordings) == 2


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
    assert caught[0].filename == __file__
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


def test_tensors_are_told_apart_that_were_one_when_it_was_recorded():
    model = mlp(16, 8, 16)
    model.register_buffer("shift", torch.ones(5, 16))

    def closure(x, y):
        return F.mse_loss(model(x) + model.shift, y)

    gradient = pprs.capture(closure, model, FILTERS, seed=3)
    (a, _), (b, _) = batches(2)
    for step, batch in enumerate([(a, a), (model.shift, a), (a, b), (b, a), (b, b), (b, a)]):
        assert_same(taken(model, gradient, *batch), by_smooth(model, closure, batch, step))


def test_modules_and_their_numbers_and_those_of_objects_are_looked_at():
    model = nn.Sequential(mlp(16, 8, 8), nn.Identity(), nn.Dropout(0.0), nn.Linear(8, 3))
    other, settings = nn.Sequential(nn.Linear(16, 3), nn.ReLU()), {"weight": 1.0}
    model.shift = torch.zeros(3)

    def closure(x, y):
        with torch.no_grad():
            right = other(x)
        loss = F.cross_entropy(model(x) + model.shift, y) + F.mse_loss(model(x), right)
        return settings["weight"] * loss

    def change(step):
        if step == 2:
            model[1] = nn.ReLU()
        if step == 4:
            model[2].p = 1.0
        if step == 5:
            model.shift = torch.arange(3.0)
        if step == 6:
            other[1], settings["weight"] = nn.Identity(), 3.0
        if step == 8:
            model[0].register_forward_hook(lambda module, given, result: -result)
        if step == 10:
            model.shift.data = torch.ones(3)

    gradient = pprs.capture(closure, model, FILTERS, seed=3)
    for step, batch in enumerate(batches(11)):
        change(step)
        assert_same(taken(model, gradient, *batch), by_smooth(model, closure, batch, step))
    assert gradient.uncaptured is None
    assert len(gradient._recordings) == 7


def test_norms_in_half_precision_are_those_of_smooth():
    model = mlp(16, 8, 3).bfloat16()
    gradient = pprs.capture(lambda x, y: F.cross_entropy(model(x), y), model, FILTERS, seed=3)
    for step, (x, y) in enumerate(batches(3)):
        batch = x.bfloat16(), y
        expected = by_smooth(model, lambda x, y: F.cross_entropy(model(x), y), batch, step)
        torch.testing.assert_close(taken(model, gradient, *batch), expected, rtol=1e-3, atol=1e-5)


def test_a_copy_records_its_own():
    class Loss:
        def __init__(self):
            self.model = mlp(16, 3)

        def __call__(self, x, y):
            return F.cross_entropy(self.model(x), y)

    loss = Loss()
    gradient = pprs.capture(loss, loss.model, FILTERS, seed=3)
    first, second, third = batches(3)
    gradient(*first)
    copied, copy_of_model = copy.deepcopy((gradient, loss.model))
    assert not copied._recordings
    assert_same(
        [taken(copy_of_model, copied, *batch) for batch in (second, third)],
        [taken(loss.model, gradient, *batch) for batch in (second, third)],
    )


def test_a_batch_that_is_none_is_refused_as_in_smooth():
    model = mlp(16, 3)
    gradient = pprs.capture(lambda x, y: F.cross_entropy(model(x), y), model, FILTERS)
    with pytest.raises(ValueError, match="batch must be a sequence of tensors, got tuple of"):
        gradient(torch.ones(5, 16), [1, 2])


def test_sigma_that_changes_in_each_step_runs_as_in_smooth(monkeypatch):
    monkeypatch.setattr("pprs.smoothing._capture._MOST", 2)
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


def test_keys_of_a_run_are_those_of_its_step():
    noise = pprs.smoothing.Noise(5, 7, 2)
    assert noise.numbers(["a", "b.weight"]) == [derive_seed(5, 7, 2, n) for n in ("a", "b.weight")]
