"""Steps whose size is searched, before any optimizer."""

import copy
import dataclasses
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.smoothing import force_way

X = torch.randint(0, 7, (5, 6), generator=torch.Generator().manual_seed(1))
Y = torch.randint(0, 7, (5, 6), generator=torch.Generator().manual_seed(2))


class Tied(nn.Module):
    """An embedding that is the output layer too, a grouped convolution, a norm, a linear layer."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.convolution = nn.Conv1d(4, 4, 3, padding=1, groups=2)
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x):
        hidden = self.convolution(self.embedding(x).mT).mT.tanh()
        return self.head(self.linear(self.norm(hidden)) + hidden)


def tied():
    torch.manual_seed(0)
    return Tied().double()


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


INPUTS = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def loss_of(model):
    return lambda: F.cross_entropy(model(INPUTS), LABELS)


def token_loss(model):
    return lambda x, y: F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def usual(model):
    """The closure that torch's optimizers take, which runs one perturbation after the other."""

    def closure(x, y):
        model.zero_grad()
        loss = token_loss(model)(x, y)
        loss.backward()
        return loss

    return closure


def values(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def fill(model, tensors):
    with torch.no_grad():
        for parameter, tensor in zip(model.parameters(), tensors, strict=True):
            parameter.copy_(tensor)


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


class Literal:
    """The rule as it is written: every candidate by itself, at parameters that are set to it."""

    def __init__(self, model, optimizer, perturbation, factors, seed, closure):
        self.model, self.optimizer, self.closure = model, optimizer, closure
        self.perturbation, self.factors, self.seed = perturbation, factors, seed
        self.moves, self.steps = None, 0

    def step(self):
        start = values(self.model)
        factors = self.factors if self.moves else [0.0]
        share = dataclasses.replace(
            self.perturbation, samples=self.perturbation.samples // len(factors)
        )
        tried = []
        for factor in factors:
            if self.moves:
                fill(self.model, [p + factor * d for p, d in zip(start, self.moves, strict=True)])
            self.model.zero_grad()
            loss = pprs.smooth(
                self.closure, self.model, share, batch=(X, Y), seed=self.seed, step=self.steps
            )
            loss.backward()
            gradients = [p.grad.clone() for p in self.model.parameters()]
            tried.append((loss.item(), factor, values(self.model), gradients))
        loss, factor, chosen, gradients = min(tried, key=lambda one: one[0])
        fill(self.model, chosen)
        for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        if self.moves:
            for group in self.optimizer.param_groups:
                group["lr"] *= factor
        self.optimizer.step()
        moves = [p - q for p, q in zip(values(self.model), chosen, strict=True)]
        fill(self.model, chosen)
        if not self.moves:
            relative = 3e-3 * norm(chosen) / norm(moves)
            moves = [relative * move for move in moves]
            for group in self.optimizer.param_groups:
                group["lr"] *= relative
        self.moves, self.steps = moves, self.steps + 1
        return loss, gradients


def norm(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors]).norm().item()


@pytest.mark.parametrize(
    ("way", "kind", "perturbation", "closure_of"),
    [
        ("implicit", "sgd", pprs.Perturbation(0.05, 6), token_loss),
        ("materialised", "adamw", pprs.Perturbation(0.05, 6), usual),
        (
            "implicit",
            "adamw",
            pprs.Perturbation.filter(0.05, 12, "example", antithetic=True),
            token_loss,
        ),
    ],
)
def test_a_step_is_the_best_of_its_candidates_each_taken_by_itself(
    way, kind, perturbation, closure_of
):
    model, other = tied(), tied()

    def optimizer_of(model):
        if kind == "sgd":
            return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        heads = [p for name, p in model.named_parameters() if "embedding" in name]
        rest = [p for name, p in model.named_parameters() if "embedding" not in name]
        return torch.optim.AdamW([{"params": heads, "lr": 0.01}, {"params": rest}], lr=0.003)

    searched = pprs.SearchedStep(optimizer_of(model), model, perturbation=perturbation, seed=4)
    literal = Literal(
        other, optimizer_of(other), perturbation, (1.0, 0.7, 1.4), 4, token_loss(other)
    )
    for _ in range(5):
        with force_way(way):
            loss = searched.step(closure_of(model), (X, Y))
            expected, gradients = literal.step()
        torch.testing.assert_close(loss.item(), expected, rtol=1e-8, atol=0)
        for parameter, p, gradient in zip(
            model.parameters(), other.parameters(), gradients, strict=True
        ):
            torch.testing.assert_close(parameter, p, rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-8)
    groups = zip(searched.optimizer.param_groups, literal.optimizer.param_groups, strict=True)
    assert all(one["lr"] == pytest.approx(two["lr"], rel=1e-6) for one, two in groups)


@pytest.mark.parametrize("momentum", [0.9, "nesterov"])
def test_nesterovs_sequences_follow_the_factor_that_is_chosen(momentum):
    model, other = tied(), tied()
    searched = pprs.SearchedStep(
        pprs.AGD(model.parameters(), lr=1.0, momentum=momentum),
        model,
        perturbation=pprs.Perturbation(0.05, 6),
        seed=4,
    )
    before = searched.lr
    x = y = values(model)
    gradient, share, lam = None, pprs.Perturbation(0.05, 2), 0.0
    for step in range(6):
        loss = searched.step(token_loss(model), (X, Y))
        if step:
            mu = momentum
            if momentum == "nesterov":
                following = (1 + (1 + 4 * lam**2) ** 0.5) / 2
                lam, mu = following, (lam - 1) / following
            tried = []
            for factor in (1.0, 0.7, 1.4):
                ys = [p - factor * before * g for p, g in zip(x, gradient, strict=True)]
                xs = [(1 + mu) * p - mu * q for p, q in zip(ys, y, strict=True)]
                fill(other, xs)
                at = pprs.smooth(token_loss(other), other, share, batch=(X, Y), seed=4, step=step)
                tried.append((at.item(), xs, ys))
            expected, x, y = min(tried, key=lambda one: one[0])
            assert loss.item() == pytest.approx(expected, rel=1e-9)
            with searched.evaluating():
                torch.testing.assert_close(values(model), y, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(values(model), x, rtol=1e-9, atol=1e-11)
        gradient, before = [p.grad.clone() for p in model.parameters()], searched.lr


def optimizer_of(kind, model):
    if kind == "agd":
        return pprs.AGD(model.parameters(), lr=0.1, momentum="nesterov")
    return torch.optim.RMSprop(model.parameters(), momentum=0.5)


@pytest.mark.parametrize("kind", ["agd", "rmsprop"])
def test_a_run_that_is_resumed_goes_on_bit_for_bit(kind):
    model, resumed = small(), small()
    run = pprs.SearchedStep(optimizer_of(kind, model), model, seed=5)
    for _ in range(3):
        run.step(loss_of(model))
    file = io.BytesIO()
    torch.save((model.state_dict(), run.state_dict()), file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    other = pprs.SearchedStep(optimizer_of(kind, resumed), resumed)
    resumed.load_state_dict(weights)
    other.load_state_dict(state)
    for _ in range(3):
        assert torch.equal(run.step(loss_of(model)), other.step(loss_of(resumed)))
    assert same(model.parameters(), resumed.parameters())
    assert run.lr == other.lr


def test_the_state_of_something_else_is_refused():
    model = small()
    run = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model)
    with pytest.raises(ValueError, match="not that of a SearchedStep, since it has no optimizer"):
        run.load_state_dict(run.optimizer.state_dict())
    run.step(loss_of(model))
    wider = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 3))
    other = pprs.SearchedStep(torch.optim.SGD(wider.parameters()), wider)
    with pytest.raises(ValueError, match=r"'0.weight' of shape \(6, 4\)"):
        other.load_state_dict(run.state_dict())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LBFGS", "LBFGS cannot be searched.*without a closure"),
        ("ASGD", "ASGD cannot be searched, since its state depends on lr"),
        ("Rprop", "Rprop cannot be searched, since its state depends on lr"),
        ("Adafactor", "Adafactor cannot be searched, since its step of '0.weight'"),
    ],
)
def test_optimizers_whose_steps_are_not_proportional_to_lr_are_refused(name, said):
    model = small()
    optimizer = getattr(torch.optim, name)(model.parameters())
    before, state = values(model), copy.deepcopy(optimizer.state_dict())
    with pytest.raises((TypeError, ValueError), match=said):
        pprs.SearchedStep(optimizer, model).step(loss_of(model))
    assert same(model.parameters(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert str(optimizer.state_dict()) == str(state)


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"]
)
def test_torchs_other_optimizers_can_be_searched(name):
    model = small()
    optimizer = getattr(torch.optim, name)(model.parameters(), weight_decay=0.01)
    searched = pprs.SearchedStep(optimizer, model, perturbation=pprs.Perturbation(0.01, 3), seed=0)
    losses = [searched.step(loss_of(model)).item() for _ in range(8)]
    assert losses[-1] < losses[0]
    assert all(state.get("step", 8) == 8 for state in optimizer.state.values())


def test_what_is_wrong_with_an_argument_is_said():
    model = small()
    adam = torch.optim.Adam(model.parameters())
    for given, error, said in [
        ((model, model), TypeError, r"takes an optimizer and its model.*got Sequential"),
        ((adam, adam), TypeError, "must be a torch.nn.Module, got Adam"),
        ((pprs.PPRS(model, 0.1, sigma=0.1), model), TypeError, r'PPRS\(model, lr="search"\)'),
    ]:
        with pytest.raises(error, match=said):
            pprs.SearchedStep(*given)
    still = torch.optim.Adam(model.parameters(), lr=0.0)
    with pytest.raises(ValueError, match="Adam has no lr above 0"):
        pprs.SearchedStep(still, model)
    for options, said in [
        ({"perturbation": pprs.Perturbation(0.1, 8)}, "samples must be a multiple of 3: got 8"),
        (
            {"perturbation": pprs.Perturbation(0.1, 28, antithetic=True)},
            "share the pairs of perturbations.* multiple of 6: got 28",
        ),
        ({"factors": (1.0, 1.4)}, r"some below 1 and some above.*got \(1.0, 1.4\)"),
        ({"factors": (0.5, -1.0, 2)}, "numbers above 0"),
        ({"factors": 3}, "got 3"),
        ({"unused": "no"}, "unused must be"),
    ]:
        with pytest.raises(ValueError, match=said):
            pprs.SearchedStep(adam, model, **options)
    searched = pprs.SearchedStep(torch.optim.Adam(small().parameters()), model)
    with pytest.raises(ValueError, match=r"shape \(6, 4\) that is not one of the model's"):
        searched.step(loss_of(model))


def test_sparse_gradients_are_refused():
    model = nn.Embedding(5, 3, sparse=True)
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model)
    with pytest.raises(RuntimeError, match="parameter 'weight' has a sparse gradient"):
        searched.step(lambda: model(LABELS).square().sum())


def test_a_step_size_that_something_else_sets_is_refused():
    model = small()
    adam = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(adam, 1, gamma=0.5)
    searched = pprs.SearchedStep(adam, model)
    searched.step(loss_of(model))
    scheduler.step()
    with pytest.raises(RuntimeError, match="lr is searched, but was set from .*scheduler"):
        searched.step(loss_of(model))


def test_an_error_leaves_everything_as_it_was():
    model, calls = small(), []

    def failing():
        calls.append(1)
        if len(calls) % 3 == 0:
            raise KeyError("the third candidate")
        return loss_of(model)()

    def infinite():
        return loss_of(model)() * torch.inf

    def steep():
        return loss_of(model)() + (0 * model[0].weight).abs().sqrt().sum()

    for optimizer in (torch.optim.Adam(model.parameters()), pprs.AGD(model.parameters(), lr=0.1)):
        searched = pprs.SearchedStep(optimizer, model, seed=0)
        for _ in range(3):
            searched.step(loss_of(model))
        before, state = values(model), copy.deepcopy(searched.state_dict())
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        for closure, said in [
            (failing, "third candidate"),
            (infinite, "not finite at any step size"),
            (steep, "gradient of parameter '0.weight' is not finite, though the loss is"),
        ]:
            calls.clear()
            with pytest.raises((KeyError, RuntimeError), match=said):
                searched.step(closure)
            assert same(model.parameters(), before)
            assert same([parameter.grad for parameter in model.parameters()], gradients)
            assert str(searched.state_dict()) == str(state)
        searched.step(loss_of(model))


def test_a_step_that_leads_out_of_range_is_shortened():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    searched = pprs.SearchedStep(
        torch.optim.SGD(model.parameters()), model, perturbation=pprs.Perturbation(0.0, 3)
    )
    searched.step(lambda: -model.weight.sum())
    lr = searched.lr
    # Beyond 1.0015 the logarithm does not exist, and the pending move is 0.003.
    loss = searched.step(lambda: -(1.0015 - model.weight).log().sum())
    assert loss.isfinite()
    assert searched.lr == pytest.approx(lr * 0.07)


def test_where_losses_are_equal_the_step_size_stays():
    model = small()
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model, unused="allow")
    searched.step(loss_of(model))
    lr = searched.lr
    searched.step(lambda: 0 * loss_of(model)())
    assert searched.lr == lr


def test_candidates_meet_the_same_dropout_and_leave_the_generator_as_one_pass_does():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model, seed=0)
    perturbation, after = pprs.Perturbation.filter(0.01, 4, antithetic=True), []
    here = {name: parameter.detach() for name, parameter in model.named_parameters()}
    torch.manual_seed(1)
    losses = searched._evaluator.step(loss_of(model), centres=[here] * 3)
    after.append(torch.rand(()))
    torch.manual_seed(1)
    expected = pprs.smooth(loss_of(model), model, perturbation, seed=0, step=0)
    after.append(torch.rand(()))
    assert losses.tolist() == [expected.item()] * 3
    assert torch.equal(*after)


def test_a_badly_chosen_step_size_does_not_matter():
    def trained(searches):
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        if searches:
            searched = pprs.SearchedStep(optimizer, model, seed=0)
            for _ in range(60):
                searched.step(loss_of(model))
        else:
            for _ in range(60):
                optimizer.zero_grad()
                loss_of(model)().backward()
                optimizer.step()
        return loss_of(model)().item()

    assert trained(True) < 0.1 * trained(False)


def test_a_layer_that_is_frozen_between_steps_stays_where_it_is():
    model = small()
    searched = pprs.SearchedStep(torch.optim.Adam(model.parameters()), model, seed=0)
    for _ in range(2):
        searched.step(loss_of(model))
    model[0].requires_grad_(False)
    frozen, other = model[0].weight.clone(), model[2].weight.clone()
    for _ in range(3):
        searched.step(loss_of(model))
    assert torch.equal(model[0].weight, frozen)
    assert not torch.equal(model[2].weight, other)


def test_a_model_that_changes_its_type_takes_the_pending_step_with_it():
    for kind in ("agd", "rmsprop"):
        model = small().double()
        searched = pprs.SearchedStep(optimizer_of(kind, model), model, seed=0)
        for dtype in (torch.float64, torch.float32, torch.float32):
            model.to(dtype)
            loss = searched.step(lambda m=model, d=dtype: F.cross_entropy(m(INPUTS.to(d)), LABELS))
            assert loss.dtype == model[0].weight.dtype == dtype


def test_hooks_run_once_per_step_and_may_clip():
    model, calls = small(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(
        lambda *_: calls.append(nn.utils.clip_grad_norm_(model.parameters(), 1e-3))
    )
    searched = pprs.SearchedStep(optimizer, model)
    for _ in range(2):
        searched.step(loss_of(model))
    assert len(calls) == 2
    agd = pprs.AGD(model.parameters(), lr=0.1)
    agd.register_step_post_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="AGD has hooks of its step"):
        pprs.SearchedStep(agd, model).step(loss_of(model))
    assert norm([parameter.grad for parameter in model.parameters()]) <= 1.001e-3


def test_a_start_without_a_gradient_is_not_the_first_step():
    model, other = small(), small()
    late, early = (
        pprs.SearchedStep(torch.optim.SGD(m.parameters()), m, perturbation=0.0)
        for m in (model, other)
    )
    late.step(lambda: 0 * loss_of(model)())
    for one, of in ((late, model), (early, other)):
        for _ in range(3):
            one.step(loss_of(of))
    assert late.lr == early.lr != 1e-3
    assert same(model.parameters(), other.parameters())


def test_parameters_that_are_all_zero_start_with_the_optimizers_own_step_size():
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    searched = pprs.SearchedStep(adam, model, perturbation=0.01, seed=0)
    losses = [searched.step(loss_of(model)).item() for _ in range(5)]
    assert losses[1] < losses[0]
    assert searched.lr == pytest.approx(0.01 * 1.4**4)


def test_a_pass_without_a_finite_loss_leaves_everything_as_it_was():
    model = small()
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model)
    searched.step(loss_of(model))
    before, gradients = values(model), [parameter.grad for parameter in model.parameters()]
    moved = {name: p.detach() + 1 for name, p in model.named_parameters()}

    def backward():
        model.zero_grad()
        loss = loss_of(model)() / 0
        loss.backward()
        return loss

    for closure in (lambda: loss_of(model)() / 0, backward):
        losses = searched._evaluator.step(closure, centres=[moved] * 3)
        assert not losses.isfinite().any()
        assert same(model.parameters(), before)
        assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert searched._evaluator.steps == 1
