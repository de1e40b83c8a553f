import json
from dataclasses import asdict, dataclass, replace

import pytest
import torch

from experiments.study.tasks.drawn import write_mushrooms
from experiments.tasks.real import DATA, needs_data
from pprs.theory import NonSmooth
from pprs_experiments.study.cost import OVERHEAD, Cost
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.run import Budget, run
from pprs_experiments.study.tasks.convex import ConvexTask, convex
from pprs_experiments.study.tasks.linear import MaximumOfLinearTask, RegressionTask
from pprs_experiments.study.tasks.svm import SvmTask
from pprs_experiments.study.tasks.worst_case import WorstCaseTask
from pprs_experiments.tasks.convex import (
    WorstCase,
    absolute_regression,
    maximum_of_linear,
    read_svm_examples,
)

SETTINGS = dict(depth=7, data="mushrooms", examples=40)
DRAWN = [
    SvmTask(**SETTINGS),
    SvmTask(**SETTINGS, aggregate="maximum", l2=0.1),
    SvmTask(**SETTINGS, features=6, l1=1e-3),
    RegressionTask(**SETTINGS, features=9),
    RegressionTask(**SETTINGS, aggregate="maximum", l1=0.01),
    MaximumOfLinearTask(functions=30, dimension=5, depth=7),
]
TASKS = [*DRAWN, WorstCaseTask(pairs=2, coordinates=9, depth=7)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mushrooms(tmp_path_factory.mktemp("data"))


def point(problem):
    return torch.randn(problem.model.dimension, generator=torch.Generator().manual_seed(0)).double()


def value_at(problem, theta):
    with torch.no_grad():
        problem.model.theta.copy_(theta)
    return problem.training_loss()


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_a_seed_always_draws_the_same_problem(task, folder):
    first, second = (task.problem(3, folder) for _ in range(2))
    assert value_at(first, point(first)) == value_at(second, point(second))
    assert first.metrics["gap"]() == second.metrics["gap"]()


@pytest.mark.parametrize("task", DRAWN, ids=repr)
def test_another_seed_draws_another(task, folder):
    first, second = (task.problem(seed, folder) for seed in range(2))
    assert value_at(first, point(first)) != value_at(second, point(second))


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_gaps_are_positive_and_1_at_the_start_and_0_at_the_optimum(task, folder):
    problem = task.problem(0, folder)
    assert not problem.model.theta.any()
    start = problem.metrics["gap"]()
    assert start > 0
    assert problem.metrics["relative gap"]() == 1
    optimum = problem.model.optimum
    value = value_at(problem, optimum.theta)
    assert problem.metrics["gap"]() == pytest.approx(0, abs=1e-8)
    assert problem.metrics["relative gap"]() == pytest.approx(0, abs=1e-7)
    halfway = value_at(problem, optimum.theta / 2)
    relative = (halfway - value) / start
    assert problem.metrics["relative gap"]() == pytest.approx(relative, abs=1e-7)
    assert 0 < relative < 1


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_the_depth_is_that_of_the_pipeline_and_changes_no_function(task, folder):
    problem, deeper = task.problem(0, folder), replace(task, depth=50).problem(0, folder)
    assert (problem.cost.depth, deeper.cost.depth) == (7, 50)
    assert value_at(problem, point(problem)) == value_at(deeper, point(deeper))


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_settings_can_be_written_and_read(task):
    assert type(task)(**json.loads(json.dumps(asdict(task)))) == task


@pytest.mark.parametrize("task", TASKS, ids=repr)
@pytest.mark.parametrize("name", ["subgradient", "pprs", "adam"])
def test_methods_come_nearer_to_the_minimum(task, name, folder):
    start = task.problem(0, folder)
    function = start.model
    size = function.radius / function.dimension**0.5  # of a coordinate
    step = function.radius / function.lipschitz
    lr = {"subgradient": 0.3 * step, "pprs": 0.01 * step, "adam": 0.05 * size}[name]
    given = dict(lr=lr, momentum=0.9, sigma=0.01 * size, samples=4)
    outcome = run(
        lambda seed: task.problem(seed, folder),
        METHODS[name],
        {each: given[each] for each in METHODS[name].space},
        0,
        Budget(time=60 * start.price().time),
        points=4,
    )
    assert outcome.last.metrics["relative gap"] < 0.9


@pytest.mark.parametrize("task", [task for task in DRAWN if hasattr(task, "data")], ids=repr)
def test_examples_and_features_are_as_many_as_asked_for(task, folder):
    problem = task.problem(0, folder)
    assert problem.cost.examples == problem.model.examples == 40
    assert problem.model.dimension == (task.features or 112)


def rows(examples):
    return [tuple(row) for row in torch.cat([examples.x, examples.y[:, None]], 1).tolist()]


def test_examples_are_drawn_from_the_data_and_fewer_features_are_among_more(folder):
    task = SvmTask(**SETTINGS)
    everything = set(rows(read_svm_examples("mushrooms", folder)))
    drawn = task.drawn(0, folder)
    assert set(rows(drawn)) <= everything
    assert len(set(rows(drawn))) == 40  # random examples are no two times the same
    assert rows(drawn) != rows(task.drawn(1, folder))
    wide, narrow = (replace(task, features=d).drawn(0, folder) for d in (9, 4))
    assert wide.x[:, :4].equal(narrow.x)
    columns = {tuple(column) for column in drawn.x.T.tolist()}
    assert {tuple(column) for column in wide.x.T.tolist()} <= columns
    assert wide.y.equal(drawn.y)
    other = replace(task, features=9).drawn(1, folder)
    assert not other.x.equal(task.drawn(1, folder).x[:, :9])  # not just the first ones


def test_all_features_are_kept_by_default(folder):
    task = SvmTask(**SETTINGS)
    everything = replace(task, features=112).drawn(0, folder)
    assert sorted(everything.x.sum(0)) == sorted(task.drawn(0, folder).x.sum(0))


@dataclass(frozen=True, kw_only=True)
class CountedTask(ConvexTask):
    """Counts how often its function is drawn and solved."""

    slope: float = 1.0

    def function(self, seed, data_dir):
        drawn.append((self.slope, seed))
        return maximum_of_linear(torch.tensor([[self.slope], [-1.0]]), torch.tensor([0.0, 1.0]))


drawn = []


def test_an_optimum_is_found_once_for_all_runs_and_depths_but_nothing_else_is_shared():
    drawn.clear()
    first = CountedTask(depth=2).problem(0, None)
    value_at(first, torch.tensor([5.0]))
    second = CountedTask(depth=9).problem(0, None)
    assert drawn == [(1.0, 0)]
    assert second.model.theta.item() == 0
    assert second.metrics["relative gap"]() == 1
    CountedTask(depth=2).problem(1, None)
    CountedTask(depth=2, slope=2.0).problem(0, None)
    assert drawn == [(1.0, 0), (1.0, 1), (2.0, 0)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(examples=8125), "examples of mushrooms are 8124, got 8125"),
        (dict(features=113), "features of mushrooms are 112, got 113"),
        (dict(examples=0), "examples must be an integer of at least 1, got 0"),
        (dict(features=0), "features must be an integer of at least 1, got 0"),
        (dict(depth=0), "depth must be an integer of at least 1, got 0"),
        (dict(data="iris"), "data must be a9a or mushrooms, got 'iris'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, says, folder):
    with pytest.raises(ValueError, match=says):
        SvmTask(**(SETTINGS | changes)).problem(0, folder)


def test_data_without_a_folder_is_refused():
    with pytest.raises(ValueError, match="mushrooms is read from data_dir, which must name"):
        SvmTask(**SETTINGS).problem(0, None)


def test_a_function_that_starts_at_its_minimum_is_refused():
    with pytest.raises(ValueError, match="functions=1.* seed 4 has its minimum at 0"):
        MaximumOfLinearTask(functions=1, dimension=3, depth=2).problem(4, None)


@needs_data
@pytest.mark.parametrize("data", ["a9a", "mushrooms"])
def test_real_problems_have_a_minimum_below_the_start(data):
    for task in (
        SvmTask(data=data, examples=200, depth=3),
        RegressionTask(data=data, examples=200, depth=3),
    ):
        problem = task.problem(0, DATA)
        value_at(problem, problem.model.optimum.theta)
        assert abs(problem.metrics["relative gap"]()) < 1e-8


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


# Not what needs a network: sigma by filters' norms is 0 where the start is.
@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in ("schedule-free", "searched-adam")]
)
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
