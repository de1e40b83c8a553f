import pytest
import torch

from pprs.compare.examples import Examples
from pprs.compare.network import relu_network
from pprs.training.losses import LOSSES
from pprs_experiments.study.cost import OVERHEAD, Cost
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.problem import Adversary, drawing
from pprs_experiments.study.run import Budget, run
from pprs_experiments.study.tasks.classification import (
    accuracy,
    classification,
    right,
    source,
    worst_class_accuracy,
)
from pprs_experiments.tasks.attacks import pgd
from pprs_experiments.tasks.few_shot import few_shot
from pprs_experiments.tasks.losses import PER_EXAMPLE
from pprs_experiments.tasks.objectives import maximum, objective


@pytest.fixture
def task():
    return few_shot(source("digits", None), 2, 3, drawing(0, "examples"), test=50)


def network(seed=0):
    return relu_network(64, 16, 10, 4, generator=drawing(seed, "weights"), flatten=True)


class Scores(torch.nn.Module):
    """Outputs are the inputs."""

    def forward(self, x):
        return x


def test_a_process_reads_a_data_set_once():
    assert source("digits", None) is source("digits", None)


def test_the_pieces_of_a_network_are_the_nodes_and_the_images_the_examples(task):
    problem = classification(task, network(), LOSSES["hinge"])
    assert problem.cost == Cost(depth=4, examples=20, divisible=True, overhead=OVERHEAD)


def test_accuracies_are_of_the_examples_that_are_not_trained_on(task):
    model = network()
    problem = classification(task, model, LOSSES["hinge"])
    assert problem.metrics == {}
    for name, examples in (("validation", task.validation), ("test", task.test)):
        correct = sum(
            int(model(x[None]).argmax()) == int(y)
            for x, y in zip(examples.x, examples.y, strict=True)
        )
        assert problem.final_metrics[name]() == pytest.approx(correct / len(examples))
    with torch.no_grad():
        last = model[-1]
        last.weight.zero_()
        last.bias.copy_(torch.eye(10)[3])
    assert problem.final_metrics["test"]() == (task.test.y == 3).double().mean()


def test_other_metrics_replace_the_accuracies(task):
    problem = classification(task, network(), LOSSES["hinge"], measured={"other": lambda: 1.0})
    assert set(problem.final_metrics) == {"other"}


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


def test_networks_are_in_single_precision(task):
    problem = classification(task, network(), LOSSES["hinge"])
    tensors = [*problem.model.parameters(), problem.batch[0]]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_the_worst_class_is_that_of_the_least_accuracy():
    scores = torch.eye(3)[torch.tensor([0, 0, 0, 1, 0, 2, 2, 2])]
    examples = Examples(scores, torch.tensor([0, 0, 0, 1, 1, 2, 2, 0]), classes=4)
    # right: 3 of 4, 1 of 2, 2 of 2; the fourth class has no examples
    assert accuracy(Scores(), examples) == 6 / 8
    assert worst_class_accuracy(Scores(), examples) == 1 / 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_is_not_right_where_its_outputs_are_not_finite(value):
    scores = torch.tensor([[2.0, 1.0], [value, 1.0], [1.0, value], [value, value]])
    examples = Examples(scores, torch.tensor([0, 0, 1, 0]), classes=2)
    assert right(Scores(), examples).tolist() == [True, False, False, False]
    assert accuracy(Scores(), examples) == 1 / 4
