"""The first steps of every method against its formula, or what else of the library says it."""

import math
import re

import pytest
import torch

import pprs
from experiments.study.small import DEPTH, EXAMPLES, gradient, network_problem, weights
from pprs.smoothing import smooth
from pprs_experiments.study.cost import Cost, Price
from pprs_experiments.study.methods import METHODS, Choice, LogUniform
from pprs_experiments.study.methods.registry import HINDSIGHT
from pprs_experiments.study.problem import Adversary

STEPS, SEED = 5, 7


def middle(method, **given):
    """Hyperparameters from the middle of their ranges."""
    middles = {
        name: math.sqrt(r.low * r.high) if isinstance(r, LogUniform) else r.values[-1]
        for name, r in method.space.items()
    }
    return middles | given


def stepped(name, steps=STEPS, problem=None, **hyperparameters):
    """The result of a method after so many steps."""
    problem = problem or network_problem()
    stepper = METHODS[name].stepper(problem, hyperparameters, SEED)
    for step in range(steps):
        stepper.step(step / steps)
    with stepper.evaluating():
        return weights(problem)


def literal(move, steps=STEPS):
    """The result of a rule that changes parameters by gradients of all examples."""
    problem = network_problem()
    parameters = list(problem.model.parameters())
    for step in range(steps):
        gradients = gradient(problem)
        with torch.no_grad():
            for number, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
                p.add_(move(step, number, g))
    return weights(problem)


def with_agd(lr, momentum):
    problem = network_problem()
    optimizer = pprs.AGD(problem.model.parameters(), lr, momentum)
    for _ in range(STEPS):
        optimizer.zero_grad()
        problem.loss(*problem.batch).backward()
        optimizer.step()
    with optimizer.evaluating():
        return weights(problem)


def with_pprs(momentum=0.9, **settings):
    problem = network_problem()
    optimizer = pprs.PPRS(problem.model, 0.05, momentum, seed=SEED, **settings)
    for _ in range(STEPS):
        optimizer.step(problem.loss, problem.batch)
    with optimizer.evaluating():
        return weights(problem)


def with_adam(samples):
    problem = network_problem()
    optimizer = torch.optim.Adam(problem.model.parameters(), 0.01)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = smooth(
            lambda: problem.loss(*problem.batch),
            problem.model,
            0.1,
            samples,
            scale="filter",
            seed=SEED,
            step=step,
        )
        loss.backward()
        optimizer.step()
    return weights(problem)


def test_gd_goes_down_the_slope():
    expected = literal(lambda step, number, g: -0.05 * g)
    torch.testing.assert_close(stepped("gd", lr=0.05), expected)


def test_subgradient_goes_down_the_slope_by_less_and_less():
    expected = literal(lambda step, number, g: -0.05 / math.sqrt(step + 1) * g)
    torch.testing.assert_close(stepped("subgradient", lr=0.05), expected)


def test_agd_is_that_of_the_library():
    assert torch.equal(stepped("agd", lr=0.05, momentum=0.8), with_agd(0.05, 0.8))
    assert torch.equal(stepped("nesterov", lr=0.05), with_agd(0.05, "nesterov"))


def test_sgd_on_the_whole_batch_is_heavy_ball():
    velocity = {}

    def move(step, number, g):
        velocity[number] = 0.8 * velocity.get(number, 0.0) + g
        return -0.05 * velocity[number]

    found = stepped("sgd", lr=0.05, momentum=0.8, batch=1.0)
    torch.testing.assert_close(found, literal(move))


def test_adam_is_what_kingma_and_ba_wrote():
    first, second = {}, {}

    def move(step, number, g):
        first[number] = 0.9 * first.get(number, 0.0) + 0.1 * g
        second[number] = 0.999 * second.get(number, 0.0) + 0.001 * g**2
        mean = first[number] / (1 - 0.9 ** (step + 1))
        square = second[number] / (1 - 0.999 ** (step + 1))
        return -0.01 * mean / (square.sqrt() + 1e-8)

    torch.testing.assert_close(stepped("adam", lr=0.01), literal(move))


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_sam_goes_down_the_slope_from_above(momentum):
    problem = network_problem()
    parameters = list(problem.model.parameters())
    velocity = [torch.zeros_like(p) for p in parameters]
    for _ in range(STEPS):
        start = [p.detach().clone() for p in parameters]
        uphill = gradient(problem)
        length = torch.cat([g.flatten() for g in uphill]).norm()
        with torch.no_grad():
            for p, g in zip(parameters, uphill, strict=True):
                p.add_(0.2 * g / length)
        above = gradient(problem)
        with torch.no_grad():
            for p, s, v, g in zip(parameters, start, velocity, above, strict=True):
                v.mul_(momentum).add_(g)
                p.copy_(s - 0.05 * v)
    found = stepped("sam", lr=0.05, momentum=momentum, rho=0.2)
    torch.testing.assert_close(found, weights(problem), rtol=1e-5, atol=1e-6)


def test_lpf_sgd_without_noise_is_sgd_on_the_whole_batch():
    found = stepped("lpf-sgd", lr=0.05, momentum=0.8, sigma=0.0, parts=4)
    expected = stepped("sgd", lr=0.05, momentum=0.8, batch=1.0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9, "nesterov"])
def test_pprs_is_that_of_the_library(momentum):
    found = stepped("pprs", lr=0.05, momentum=momentum, sigma=0.1, samples=4)
    assert torch.equal(found, with_pprs(momentum, sigma=0.1, samples=4))


@pytest.mark.parametrize(
    ("end", "settings"),
    [
        ("-filter", dict(scale="filter")),
        ("-example", dict(noise="example")),
        ("-antithetic", dict(antithetic=True)),
    ],
)
def test_the_kinds_of_pprs_are_those_of_the_library(end, settings):
    found = stepped(f"pprs{end}", lr=0.05, momentum=0.9, sigma=0.1, samples=4)
    assert torch.equal(found, with_pprs(sigma=0.1, samples=4, **settings))
    assert not torch.equal(found, with_pprs(sigma=0.1, samples=4))


def test_an_annealed_sigma_falls_in_a_line_over_the_budget():
    found = stepped("pprs-annealed", lr=0.05, momentum=0.9, sigma=0.1, samples=4)
    annealed = with_pprs(sigma=lambda step: (1 - step / STEPS) * 0.1, samples=4)
    assert torch.equal(found, annealed)


@pytest.mark.parametrize("end", ["", "-annealed", "-filter"])
def test_one_draw_is_pprs_with_one_sample(end):
    found = stepped(f"one-draw{end}", lr=0.05, momentum=0.9, sigma=0.1)
    expected = stepped(f"pprs{end}", lr=0.05, momentum=0.9, sigma=0.1, samples=1)
    assert torch.equal(found, expected)


def test_smoothing_may_be_followed_by_adam():
    assert torch.equal(stepped("pprs-adam", lr=0.01, sigma=0.1, samples=4), with_adam(4))
    assert torch.equal(stepped("one-draw-adam", lr=0.01, sigma=0.1), with_adam(1))


def test_randomized_smoothing_takes_its_gradients_where_its_update_says():
    problem = network_problem()
    stepper = METHODS["randomized-smoothing"].stepper(
        problem, {"lipschitz": 2.0, "radius": 1.0, "samples": 4}, SEED
    )
    for step in range(STEPS):
        other = network_problem()
        other.model.load_state_dict(problem.model.state_dict())
        sigma = stepper.update.sigma  # type: ignore[attr-defined]
        stepper.step(step / STEPS)
        expected = smooth(
            other.loss, other.model, sigma, 4, batch=other.batch, seed=SEED, step=step
        )
        expected.backward()
        for mine, its in zip(problem.model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, its.grad)


def test_pipedream_takes_gradients_of_one_step_less_than_the_depth_before():
    kept = {}

    def move(step, number, g):
        kept[step, number] = g
        return -0.02 * kept.get((step - (DEPTH - 1), number), torch.zeros(()))

    torch.testing.assert_close(stepped("pipedream", lr=0.02), literal(move))


# 12 examples, depth 3, no cost to start a pass: K passes of n rows take 2 (K n + 2) / 12.
PRICES = {
    "gd": Price(28 / 12, 1),
    "subgradient": Price(28 / 12, 1),
    "agd": Price(28 / 12, 1),
    "nesterov": Price(28 / 12, 1),
    "sgd": Price(10 / 12, 1 / 4),
    "adam": Price(28 / 12, 1),
    "sam": Price(56 / 12, 2),
    "lpf-sgd": Price(28 / 12, 1),
    "schedule-free": Price(28 / 12, 1),
    "randomized-smoothing": Price(196 / 12, 8),
    "pipedream": Price(2, 1),
    "pipedream-minibatch": Price(2 / 4, 1 / 4),
    **dict.fromkeys(
        ["one-draw", "one-draw-annealed", "one-draw-filter", "one-draw-adam"], Price(28 / 12, 1)
    ),
    **dict.fromkeys(
        ["pprs", "pprs-annealed", "pprs-filter", "pprs-adam", "pprs-example", "pprs-antithetic"],
        Price(196 / 12, 8),
    ),
    **{
        f"k-{samples}{end}": Price((12 * samples + 2) * 2 / 12, samples)
        for samples in (1, 4, 16, 64, 128)
        for end in ("", "-filter")
    },
    **dict.fromkeys(["no-momentum", "no-momentum-filter"], Price(196 / 12, 8)),
    **{
        f"default{end}-{sigma}": Price(196 / 12, 8)
        for end in ("", "-adam")
        for sigma in ("0.01", "0.02")
    },
    "searched-adam": Price(292 / 12, 12),
    **{f"adam-at-{lr:g}": Price(28 / 12, 1) for lr in HINDSIGHT},
    **dict.fromkeys(["grid-none", "grid-one-0.003", "grid-one-0.01"], Price(28 / 12, 1)),
    **dict.fromkeys(["grid-mean-0.003", "grid-mean-0.01"], Price(196 / 12, 8)),
}


@pytest.mark.parametrize("name", METHODS)
def test_steps_cost_what_hands_count(name):
    if name == "schedule-free":
        pytest.importorskip("schedulefree")
    method = METHODS[name]
    given = {k: v for k, v in dict(samples=8, batch=1 / 4, parts=4).items() if k in method.space}
    found = method.stepper(network_problem(), middle(method, **given), SEED).price
    assert found.time == pytest.approx(PRICES[name].time)
    assert found.evaluations == pytest.approx(PRICES[name].evaluations)


@pytest.mark.parametrize("name", ["pprs", "pprs-filter", "pprs-adam", "pprs-antithetic"])
def test_smoothing_a_loss_that_is_no_mean_costs_equation_14(name):
    method = METHODS[name]
    problem = network_problem(cost=Cost(DEPTH, EXAMPLES, divisible=False))
    assert method.stepper(problem, middle(method, samples=8), SEED).price == Price(20, 8)


@pytest.mark.parametrize(
    ("name", "whole", "fixed"),
    [
        ("k-4", "pprs", {"samples": 4}),
        ("k-16-filter", "pprs-filter", {"samples": 16}),
        ("no-momentum", "pprs", {"momentum": 0.0}),
        ("default-0.02", "pprs-filter", {"sigma": 0.02, "samples": 8, "momentum": 0.9}),
        ("default-adam-0.01", "pprs-adam", {"sigma": 0.01, "samples": 8}),
    ],
)
def test_a_part_is_the_whole_with_hyperparameters_held(name, whole, fixed):
    rest = {k: v for k, v in middle(METHODS[whole]).items() if k not in fixed}
    assert set(METHODS[name].space) == set(rest)
    assert torch.equal(stepped(name, **rest), stepped(whole, **rest, **fixed))


def test_pipedream_refuses_an_adversary():
    problem = network_problem(adversary=Adversary(lambda batch, generator: batch, steps=1))
    with pytest.raises(ValueError, match="pipedream has no place for an adversary"):
        METHODS["pipedream"].stepper(problem, {"lr": 0.1}, SEED)


def test_every_method_of_the_study_has_a_name_and_a_label_of_its_own():
    assert set(METHODS) == set(PRICES)
    for name, method in METHODS.items():
        assert method.name == name
        assert re.fullmatch("[a-z0-9.-]+", name)
    assert len({method.label for method in METHODS.values()}) == len(METHODS)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_range_holds_values_that_the_method_takes(method):
    if method.name == "schedule-free":
        pytest.importorskip("schedulefree")
    for name, tried in method.space.items():
        values = tried.values if isinstance(tried, Choice) else (tried.low, tried.high)
        for value in values:
            method.stepper(network_problem(), middle(method, **{name: value}), SEED).step(0.0)
