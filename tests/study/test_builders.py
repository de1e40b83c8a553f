import dataclasses

import pytest
import torch

from pprs.study.builders import classification, convex
from pprs.study.cost import OVERHEAD, Cost
from pprs.study.methods import METHODS
from pprs.study.problem import Adversary, drawing
from pprs.study.run import Budget, run
from pprs.tasks.attacks import pgd
from pprs.tasks.convex import WorstCase, absolute_regression, maximum_of_linear
from pprs.tasks.few_shot import few_shot
from pprs.tasks.images import read_images
from pprs.tasks.losses import LOSSES, PER_EXAMPLE
from pprs.tasks.networks import relu_network
from pprs.tasks.objectives import maximum, objective
from pprs.theory import NonSmooth


@pytest.fixture(scope="module")
def digits():
    return read_images("digits")


@pytest.fixture
def task(digits):
    return few_shot(digits, 2, 3, drawing(0, "examples"), test=50)


def network(seed=0):
    return relu_network(64, 16, 10, 4, generator=drawing(seed, "weights"), flatten=True)


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_pieces_of_a_network_are_the_nodes_and_the_images_the_examples(task):
    problem = classification(task, network(), LOSSES["hinge"])
    assert problem.cost == Cost(depth=4, examples=20, divisible=True, overhead=OVERHEAD)


def test_accuracies_are_of_the_examples_that_are_not_trained_on(task):
    model = network()
    problem = classification(task, model, LOSSES["hinge"])
    for name, examples in (("validation", task.validation), ("test", task.test)):
        right = sum(
            int(model(x[None]).argmax()) == int(y)
            for x, y in zip(examples.x, examples.y, strict=True)
        )
        assert problem.metrics[name]() == pytest.approx(right / len(examples))
    with torch.no_grad():
        last = model[-1]
        last.weight.zero_()
        last.bias.copy_(torch.eye(10)[3])
    assert problem.metrics["test"]() == (task.test.y == 3).double().mean()


def test_the_training_loss_is_that_of_the_training_examples(task):
    model = network()
    problem = classification(task, model, LOSSES["hinge"])
    expected = LOSSES["hinge"](model(task.train.x), task.train.y).item()
    assert problem.training_loss() == problem.loss(*problem.batch).item() == expected


def test_the_training_loss_under_an_adversary_is_the_worst_that_it_finds(task):
    model, bounds = network(), task.scale.bounds

    def attack(batch, generator):
        x, y = batch
        settings = dict(epsilon=0.5, steps=3, bounds=bounds, generator=generator)
        return pgd(model, LOSSES["hinge"], x, y, **settings), y

    adversary = Adversary(attack, steps=3)
    problem = classification(task, model, LOSSES["hinge"], adversary=adversary)
    clean = classification(task, model, LOSSES["hinge"])
    assert problem.training_loss() > clean.training_loss()
    assert problem.training_loss() == problem.training_loss()

    def factory(seed):
        model.load_state_dict(network().state_dict())
        return problem

    start = network().state_dict()
    outcome = run(factory, METHODS["gd"], {"lr": 0.1}, 0, Budget(evaluations=40), points=1)
    assert outcome.last.step == 10
    assert outcome.last.training_loss < outcome.history[0].training_loss
    assert not model.state_dict()["0.1.weight"].equal(start["0.1.weight"])


def test_a_maximum_over_examples_is_not_divided(task):
    worst = objective(PER_EXAMPLE["hinge"], maximum)
    problem = classification(task, network(), worst, divisible=False)
    assert problem.price(samples=8).time == 2 * (8 + 3)
    settings = {"lr": 1e-3, "momentum": 0.9, "sigma": 0.01, "samples": 4}
    METHODS["pprs"].stepper(problem, settings, seed=0).step(0.0)


def test_the_gap_of_a_convex_function_is_its_distance_from_the_minimum():
    function = absolute_regression(normal(8, 3), normal(8))
    problem = convex(function, depth=5)
    assert problem.cost == Cost(depth=5, examples=8, divisible=True, overhead=OVERHEAD)
    assert problem.metrics["gap"]() == pytest.approx(function().item() - function.minimum)
    with torch.no_grad():
        function.theta.copy_(function.optimum.theta)
    assert problem.metrics["gap"]() == pytest.approx(0, abs=1e-9)


def test_the_loss_of_convex_examples_is_their_mean():
    function = absolute_regression(normal(8, 3), normal(8))
    problem = convex(function, depth=5)
    with torch.no_grad():
        function.theta.copy_(normal(3))
    index = torch.tensor([5, 2])
    parts = [problem.loss(number[None]).item() for number in index]
    assert problem.loss(*problem.chosen(index)).item() == pytest.approx(sum(parts) / 2)
    assert problem.loss(*problem.batch).item() == function().item() == problem.training_loss()


@pytest.mark.parametrize(
    "function",
    [
        lambda: absolute_regression(normal(8, 3), normal(8), "maximum"),
        lambda: maximum_of_linear(torch.cat([normal(4, 3), -normal(4, 3)]), normal(8)),
        lambda: WorstCase(NonSmooth(1.0, 1.0, 3, 2)),
    ],
)
def test_convex_functions_that_are_no_mean_are_not_divided(function):
    problem = convex(function(), depth=5)
    assert problem.batch == ()
    assert problem.price(samples=8).time == 2 * (8 + 4)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "schedule-free"])
def test_every_method_runs_on_a_convex_function(name):
    method = METHODS[name]
    given = dict(
        lr=0.01, momentum=0.9, sigma=0.1, samples=4, batch=0.25, rho=0.1, parts=2,
        lipschitz=2.0, radius=3.0,
    )  # fmt: skip
    outcome = run(
        lambda seed: convex(absolute_regression(normal(8, 3), normal(8)), depth=5),
        method,
        {name: value for name, value in given.items() if name in method.space},
        0,
        Budget(time=200),
        points=2,
    )
    assert not outcome.diverged
    assert outcome.last.metrics["gap"] < outcome.history[0].metrics["gap"]


def test_convex_problems_are_in_double_and_networks_in_single_precision(task):
    function = absolute_regression(normal(8, 3), normal(8))
    assert {p.dtype for p in convex(function, 5).model.parameters()} == {torch.float64}
    problem = classification(task, network(), LOSSES["hinge"])
    assert {p.dtype for p in problem.model.parameters()} == {torch.float32}
    assert dataclasses.is_dataclass(problem)
