"""A recorded closure gives what `smooth` gives, with fresh noise."""

import copy

import pytest
import torch
from smoothing.captured import FILTERS, assert_same, batches, by_smooth, gradients, mlp, taken
from torch import nn
from torch.nn import functional as F

import pprs
from pprs.smoothing import _target, derive_seed


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
    "weights in parts": (lambda: mlp(16, 24, 3), FILTERS),
}


@pytest.mark.parametrize("case", CASES)
def test_each_call_gives_what_smooth_gives_at_its_step(case, monkeypatch):
    make, perturbation = CASES[case]
    if case == "weights in parts":
        monkeypatch.setattr("pprs.smoothing.rules.linear.goes_implicit", lambda *_: False)
        monkeypatch.setattr(_target, "_LARGE", 0)
        monkeypatch.setattr(_target, "_PART", 1)
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


def test_numbers_changed_in_place_begin_anew_in_each_run_and_parts_are_told_apart():
    model = mlp(16, 4)

    def closure(x, y):
        weight = torch.tensor(1.0)
        weight += x[0, 0].abs()
        first, second = model(x).chunk(2, dim=1)
        first = first.clone().mul_(2)
        return (weight * first - second).square().mean()

    gradient = pprs.capture(closure, model, FILTERS, seed=3)
    for step, (x, y) in enumerate(batches(4)):
        found = taken(model, gradient, x, y)
        assert_same(found, by_smooth(model, closure, (x, y), step))
    assert gradient.uncaptured is None


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


def test_keys_of_a_run_are_those_of_its_step():
    noise = pprs.smoothing.Noise(5, 7, 2)
    assert noise.numbers(["a", "b.weight"]) == [derive_seed(5, 7, 2, n) for n in ("a", "b.weight")]
