import pytest
import torch

from pprs.study.builders import convex
from pprs.study.cost import OVERHEAD, Cost
from pprs.study.methods import METHODS
from pprs.study.run import Budget, run
from pprs.tasks.convex import WorstCase, absolute_regression, maximum_of_linear
from pprs.theory import NonSmooth


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


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
        Budget(time=600),
        points=2,
    )
    assert not outcome.diverged
    assert outcome.last.metrics["gap"] < outcome.history[0].metrics["gap"]


def test_convex_problems_are_in_double_precision():
    function = absolute_regression(normal(8, 3), normal(8))
    assert {p.dtype for p in convex(function, 5).model.parameters()} == {torch.float64}
