import dataclasses
import functools
import math

import pytest
import torch

import pprs
from experiments.study.small import network_problem, weights
from pprs.smoothing import derive_seed
from pprs_experiments.study.cost import Price
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.run import Budget, run

SMOOTHED = {"lr": 0.05, "momentum": 0.9, "sigma": 0.1, "samples": 4}
STEP = 2 * (4 * 12 + 2) / 12  # of it, see small.py: 12 examples, 3 nodes


TWENTY = Budget(time=20 * STEP)


def smoothed(budget=TWENTY, points=4):
    return run(network_problem, METHODS["pprs"], SMOOTHED, 0, budget, points)


def timeless(outcome):
    history = [dataclasses.replace(point, wall_time=0.0) for point in outcome.history]
    return dataclasses.replace(outcome, history=tuple(history))


def test_the_history_goes_from_the_start_to_the_end_in_even_steps():
    outcome = smoothed()
    assert [point.step for point in outcome.history] == [0, 5, 10, 15, 20]
    times = [point.pipeline_time for point in outcome.history]
    assert times == pytest.approx([step * STEP for step in (0, 5, 10, 15, 20)])
    assert [point.evaluations for point in outcome.history] == [0, 20, 40, 60, 80]
    assert outcome.history[0].wall_time == 0
    walls = [point.wall_time for point in outcome.history]
    assert walls == sorted(walls)
    assert walls[-1] > 0
    assert not outcome.diverged


def test_what_is_measured_is_the_result_of_the_method():
    outcome = smoothed()
    problem = network_problem()
    optimizer = pprs.PPRS(
        problem.model, 0.05, 0.9, sigma=0.1, samples=4, seed=derive_seed(0, "noise")
    )
    assert outcome.history[0].training_loss == problem.training_loss()
    for _ in range(20):
        optimizer.step(problem.loss, problem.batch)
    assert outcome.last.training_loss != problem.training_loss()
    with optimizer.evaluating():
        assert outcome.last.training_loss == problem.training_loss()
        assert outcome.last.metrics == {"double": 2 * problem.training_loss()}


def test_how_often_is_measured_does_not_change_the_run():
    assert timeless(smoothed(points=1)).last == timeless(smoothed(points=20)).last


def test_more_points_than_steps_measure_every_step():
    outcome = smoothed(points=1000)
    assert [point.step for point in outcome.history] == list(range(21))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "schedule-free"])
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(name):
    given = dict(SMOOTHED, batch=0.25, rho=0.1, parts=2, lipschitz=20.0, radius=3.0)
    method = METHODS[name]
    given = {name: value for name, value in given.items() if name in method.space}

    def outcome(seed):
        return timeless(run(network_problem, method, given, seed, Budget(evaluations=16), 2))

    assert outcome(0) == outcome(0)
    assert outcome(0).last.training_loss != outcome(1).last.training_loss


@pytest.mark.parametrize("name", ["sgd", "lpf-sgd", "pprs", "pprs-example", "one-draw"])
def test_the_seed_draws_what_a_method_draws_even_on_one_problem(name):
    method = METHODS[name]
    given = dict(SMOOTHED, batch=0.25, parts=2)
    given = {name: value for name, value in given.items() if name in method.space}
    last = [
        run(lambda _: network_problem(), method, given, seed, Budget(evaluations=8), 1).last
        for seed in (0, 1)
    ]
    assert last[0].training_loss != last[1].training_loss


def test_a_run_does_not_touch_the_global_generator():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    smoothed()
    assert torch.rand(3).equal(expected)


@pytest.mark.parametrize("name", ["gd", "adam", "sam", "lpf-sgd", "sgd", "pprs", "pipedream"])
def test_a_method_that_takes_steps_of_no_size_ends_where_it_began(name):
    method = METHODS[name]
    given = dict(SMOOTHED, lr=0.0, batch=0.25, parts=2, rho=0.1)
    given = {name: value for name, value in given.items() if name in method.space}
    problems = []

    def factory(seed):
        problems.append(network_problem(seed))
        return problems[-1]

    outcome = run(factory, method, given, 0, Budget(evaluations=16), points=3)
    assert {point.training_loss for point in outcome.history} == {network_problem().training_loss()}
    assert outcome.last.step >= 4
    assert weights(problems[0]).equal(weights(network_problem()))


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        (Budget(time=20 * STEP), 20),
        (Budget(time=20 * STEP - 0.01), 19),
        (Budget(evaluations=80), 20),
        (Budget(evaluations=79), 19),
        (Budget(time=20 * STEP, evaluations=40), 10),
        (Budget(time=5 * STEP, evaluations=40), 5),
    ],
)
def test_a_run_ends_before_the_step_that_would_exceed_a_budget(budget, steps):
    assert smoothed(budget=budget).last.step == steps


def test_a_budget_that_is_a_multiple_of_the_price_pays_for_that_many_steps():
    assert Budget(time=0.3).steps(Price(0.1, 1.0)) == 3
    assert Budget(evaluations=0.7).steps(Price(1.0, 0.1)) == 7


def test_a_budget_that_pays_for_no_step_leaves_the_start():
    outcome = smoothed(budget=Budget(time=STEP / 2))
    assert [point.step for point in outcome.history] == [0]
    assert not outcome.diverged


@pytest.mark.parametrize("name", ["gd", "pprs", "pprs-filter", "pprs-example", "sam", "lpf-sgd"])
def test_a_run_that_diverges_ends_early_and_keeps_what_it_was(name):
    method = METHODS[name]
    given = dict(SMOOTHED, lr=1e30, momentum=2.0, rho=0.1, parts=2)
    given = {name: value for name, value in given.items() if name in method.space}
    outcome = run(network_problem, method, given, 0, Budget(evaluations=4000), points=2)
    assert outcome.diverged
    assert not math.isfinite(outcome.last.training_loss)
    assert math.isfinite(outcome.history[0].training_loss)
    assert len(outcome.history) == 2
    assert outcome.last.step < 50


def test_a_run_whose_last_step_leaves_nothing_finite_has_diverged():
    given = {"lr": 1e38}
    outcome = run(network_problem, METHODS["gd"], given, 0, Budget(evaluations=1), points=1)
    assert outcome.last.step == 1
    assert outcome.diverged


def test_a_problem_that_is_not_finite_at_its_start_is_not_run():
    outcome = run(
        lambda seed: network_problem(seed, training_loss=lambda: math.nan),
        METHODS["gd"],
        {"lr": 0.1},
        0,
        Budget(evaluations=10),
        points=1,
    )
    assert outcome.diverged
    assert [point.step for point in outcome.history] == [0]


def at_the_end(method, given, measured=None, **changes):
    """An outcome, and how often each of two final metrics was measured."""
    asked = {"first": 0, "second": 0}

    def factory(seed):
        problem = network_problem(seed, **changes)

        def metric(name):
            asked[name] += 1
            return weights(problem).double().sum().item()

        final = {name: functools.partial(metric, name) for name in asked}
        return dataclasses.replace(problem, final_metrics=final)

    budget = Budget(evaluations=40)
    return run(factory, METHODS[method], given, 0, budget, points=4, final=measured), asked


def test_final_metrics_are_measured_once_at_the_end_at_the_result_of_the_method():
    outcome, asked = at_the_end("pprs", SMOOTHED)
    assert asked == {"first": 1, "second": 1}
    assert [set(point.metrics) for point in outcome.history[:-1]] == [{"double"}] * 4
    assert set(outcome.last.metrics) == {"double", "first", "second"}
    problem = network_problem()
    optimizer = pprs.PPRS(
        problem.model, 0.05, 0.9, sigma=0.1, samples=4, seed=derive_seed(0, "noise")
    )
    for _ in range(10):
        optimizer.step(problem.loss, problem.batch)
    held = weights(problem).double().sum().item()
    with optimizer.evaluating():
        assert outcome.last.metrics["first"] == weights(problem).double().sum().item() != held


def test_some_of_the_final_metrics_are_measured():
    outcome, asked = at_the_end("gd", {"lr": 0.1}, {"second"})
    assert asked == {"first": 0, "second": 1}
    assert set(outcome.last.metrics) == {"double", "second"}


@pytest.mark.parametrize(
    ("lr", "changes"), [(1e30, {}), (0.1, {"training_loss": lambda: math.nan})]
)
def test_a_run_that_diverged_has_final_metrics_too(lr, changes):
    outcome, _ = at_the_end("gd", {"lr": lr}, **changes)
    assert outcome.diverged
    assert set(outcome.last.metrics) == {"double", "first", "second"}


def test_a_run_to_a_target_has_final_metrics_where_it_ends():
    problem = network_problem(final_metrics={"final": lambda: 5.0})
    budget = Budget(evaluations=100)
    outcome = run(lambda _: problem, METHODS["gd"], {"lr": 0.01}, 0, budget, 50, lambda _: True)
    assert outcome.last.step == 1
    assert outcome.last.metrics["final"] == 5.0
    assert "final" not in outcome.history[0].metrics


@pytest.mark.parametrize(
    "amounts", [{}, {"time": 0.0}, {"evaluations": -1.0}, {"time": math.nan}, {"time": math.inf}]
)
def test_a_budget_without_an_amount_above_0_is_refused(amounts):
    with pytest.raises(ValueError, match="a budget must give time or evaluations, above 0, got"):
        Budget(**amounts)


def test_no_points_are_refused():
    with pytest.raises(ValueError, match="points must be an integer of at least 1, got 0"):
        smoothed(points=0)


def test_a_run_ends_at_the_first_point_that_is_good_enough():
    whole = run(network_problem, METHODS["gd"], {"lr": 0.05}, 0, Budget(evaluations=64), 1000)
    target = whole.history[20].training_loss
    found = run(
        network_problem,
        METHODS["gd"],
        {"lr": 0.05},
        0,
        Budget(evaluations=64),
        1000,
        until=lambda point: point.training_loss <= target,
    )
    first = next(point.step for point in whole.history if point.training_loss <= target)
    assert found.last.step == first <= 20
    assert timeless(found).last == dataclasses.replace(whole.history[first], wall_time=0.0)
    assert not found.diverged


def test_points_on_the_way_to_a_target_are_spread_over_the_logarithm_of_the_steps():
    found = run(
        network_problem,
        METHODS["gd"],
        {"lr": 0.05},
        0,
        Budget(evaluations=256),
        8,
        until=lambda point: False,
    )
    assert [point.step for point in found.history] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]
