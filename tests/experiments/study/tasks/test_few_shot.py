import pytest
import torch

from experiments.study.tasks.seeded import as_bytes, check_global_generator, check_json, check_seeds
from experiments.tasks.real import DATA, needs_data
from pprs_experiments.study.methods import METHODS, LogUniform
from pprs_experiments.study.run import Budget, run
from pprs_experiments.study.tasks import FewShotTask
from pprs_experiments.tasks.images import read_images
from pprs_experiments.tasks.losses import PER_EXAMPLE

SMALL = dict(shots=2, depth=3, width=8, test=300)
OBJECTIVES = ["mean", "maximum", "cvar", "worst group"]


@pytest.mark.parametrize("network", ["relu", "convolutional"])
def test_the_seed_draws_all(network):
    task = FewShotTask(network=network, **SMALL)
    check_seeds(task)
    check_global_generator(task)
    check_json(task)


def test_shots_are_counted_for_every_class():
    problem = FewShotTask(shots=3, depth=3, width=8).problem(0, None)
    assert problem.batch[1].bincount().tolist() == [3] * 10
    assert problem.examples == 30
    assert problem.cost.depth == 3


def test_no_image_is_in_two_parts():
    examples = FewShotTask(shots=3, validation=4, test=2000).examples(0, None)
    parts = (examples.train, examples.validation, examples.test)
    assert [len(part) for part in parts] == [30, 40, 1797 - 70]
    drawn = sorted(image for part in parts for image in as_bytes(part, examples.scale))
    source = read_images("digits").train.x.flatten(1)
    assert drawn == sorted(tuple(image.tolist()) for image in source)


def test_the_images_of_a_problem_are_those_that_it_says():
    task = FewShotTask(**SMALL)
    problem, examples = task.problem(3, None), task.examples(3, None)
    assert problem.batch[0].equal(examples.train.x)
    found = problem.model(examples.test.x).argmax(1) == examples.test.y
    assert problem.final_metrics["test"]() == pytest.approx(found.double().mean().item())
    assert len(examples.test) == 300


def test_other_settings_of_the_network_leave_the_images():
    first, other = (
        FewShotTask(network=network, depth=depth, shots=2).problem(0, None)
        for network, depth in (("relu", 3), ("convolutional", 4))
    )
    assert first.batch[0].equal(other.batch[0])


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("loss", PER_EXAMPLE)
def test_only_the_mean_is_divided(objective, loss):
    problem = FewShotTask(objective=objective, loss=loss, **SMALL).problem(0, None)
    assert problem.cost.divisible == (objective == "mean")
    assert problem.training_loss() == problem.loss(*problem.batch).item()
    names = {"validation", "test"} | (set() if objective == "mean" else {"test worst"})
    assert problem.metrics == {}
    assert set(problem.final_metrics) == names


def test_the_worst_class_is_measured_on_the_test_images():
    task = FewShotTask(objective="maximum", **SMALL)
    problem, test = task.problem(0, None), task.examples(0, None).test
    with torch.no_grad():
        problem.model[-1].bias.copy_(100 * torch.eye(10)[3])
    assert problem.final_metrics["test worst"]() == 0
    assert problem.final_metrics["test"]() == (test.y == 3).double().mean()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", [name for name in METHODS if not METHODS[name].divides])
def test_every_method_that_does_not_divide_minimises_every_objective(name, objective):
    if name == "schedule-free":
        pytest.importorskip("schedulefree")
    method = METHODS[name]
    given = {
        key: (space.low * space.high) ** 0.5 if isinstance(space, LogUniform) else space.values[0]
        for key, space in method.space.items()
    }
    given |= {"lr": 1e-3} if "lr" in given else {}
    task = FewShotTask(objective=objective, **SMALL)
    problem = task.problem(0, None)
    before = [p.detach().clone() for p in problem.model.parameters()]
    stepper = method.stepper(problem, given, seed=0)
    steps = problem.cost.depth + 1 if name.startswith("pipedream") else 2
    assert all(stepper.step(0.0).isfinite() for _ in range(steps))
    with stepper.evaluating():
        changed = zip(problem.model.parameters(), before, strict=True)
        assert any(not p.equal(start) for p, start in changed)


def test_a_network_learns_more_than_chance():
    outcome = run(
        lambda seed: FewShotTask(depth=4, width=32, test=500).problem(seed, None),
        METHODS["adam"],
        {"lr": 3e-3},
        0,
        Budget(evaluations=40),
        points=2,
    )
    assert outcome.last.metrics["test"] > 0.5
    assert outcome.last.training_loss < 0.2 * outcome.history[0].training_loss


@needs_data
@pytest.mark.parametrize(
    ("data", "network", "shape"),
    [
        ("fashion-mnist", "relu", (1, 28, 28)),
        ("cifar-10", "convolutional", (3, 32, 32)),
        ("cifar-10", "relu", (3, 32, 32)),
    ],
)
def test_images_are_read_from_the_official_files(data, network, shape):
    task = FewShotTask(data, 2, network, depth=4, width=4, test=100)
    problem = task.problem(0, DATA)
    assert problem.batch[0].shape == (20, *shape)
    assert 0 <= problem.final_metrics["test"]() <= 1


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="network must be relu, residual, .*, got 'tiny'"):
        FewShotTask(network="tiny").problem(0, None)
    for depth in (2, 9):
        with pytest.raises(ValueError, match=f"must be 4, 6, ..., got {depth}"):
            FewShotTask(network="transformer", depth=depth).problem(0, None)
    with pytest.raises(ValueError, match="objective must be one of"):
        FewShotTask(objective="median").problem(0, None)
    with pytest.raises(ValueError, match="name the folder that holds fashion-mnist/"):
        FewShotTask("fashion-mnist").problem(0, None)
