"""Searched steps against the rule as it is written."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from optim.searching import norm, values
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


def fill(model, tensors):
    with torch.no_grad():
        for parameter, tensor in zip(model.parameters(), tensors, strict=True):
            parameter.copy_(tensor)


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
