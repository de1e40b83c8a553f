"""A tiny study from its jobs to its page: what it says of methods whose worth is known."""

import pytest
import torch

from experiments.study.small import small_cell
from pprs_experiments.study.cell import Goal
from pprs_experiments.study.job import Effort, Job
from pprs_experiments.study.methods import METHODS, LogUniform, Method, Stepper
from pprs_experiments.study.methods.gradients import Plain
from pprs_experiments.study.report import write_report
from pprs_experiments.study.report.comparing import against_rivals, contests
from pprs_experiments.study.results import read_results, write_results

EFFORT = Effort(trials=2, tuning_seeds=1, seeds=10, points=3)
LOSS = Goal("training_loss", "lower")


class Wandering:
    """Steps somewhere, whatever the gradient."""

    def __init__(self, model, lr, seed):
        self.parameters, self.lr = list(model.parameters()), lr
        self.generator = torch.Generator().manual_seed(seed)

    def step(self):
        for parameter in self.parameters:
            noise = torch.randn(parameter.shape, generator=self.generator)
            parameter.data.add_(self.lr * noise)


class Knowing:
    """Steps as gradient descent would, ten times."""

    def __init__(self, problem, lr):
        self.problem, self.lr = problem, lr

    def step(self):
        parameters = list(self.problem.model.parameters())
        for _ in range(10):
            gradients = torch.autograd.grad(self.problem.loss(*self.problem.batch), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.data.sub_(self.lr * gradient)


def planted(name, update):
    def build(problem, h, seed):
        return Stepper(Plain(problem, seed), update(problem, h["lr"], seed))

    return Method(name, name, {"lr": LogUniform(0.003, 0.3)}, build)


@pytest.fixture
def methods(monkeypatch):
    """What is useless and what is better, by names that count as smoothing."""
    for method in (
        planted("pprs-useless", lambda p, lr, seed: Wandering(p.model, lr, seed)),
        planted("pprs-better", lambda p, lr, seed: Knowing(p, lr)),
    ):
        monkeypatch.setitem(METHODS, method.name, method)


def studied(folder, *names):
    """The results of a study of these methods, as its file has them."""
    cells = [
        small_cell(name=f"few-shot/small/{task}", spent=spent, steps=10, methods=names)
        for task in ("one", "two")
        for spent in ("time", "evaluations")
    ]
    results = [Job(cell, name, EFFORT).compute(None) for cell in cells for name in names]
    write_results(folder / "results.jsonl", results)
    return read_results(folder / "results.jsonl")


def families(results):
    """The verdicts on the cells of each budget."""
    found = contests(results)
    for spent in ("time", "evaluations"):
        yield against_rivals([contest for contest in found if contest.spent == spent])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "word"), [("pprs-useless", "worse"), ("pprs-better", "better")])
def test_what_is_useless_is_called_so_and_what_is_better_too(tmp_path, methods, name, word):
    results = studied(tmp_path, "gd", name)
    for family in families(results):
        assert [verdict.word for _, verdict in family.each] == [word, word]
        assert [verdict.word for verdict in family.together.values()] == [word]
    page = write_report(results, tmp_path).read_text()
    assert page.count(f"Over 2 cells, PPRS is {word}: against the best tuned rival") == 2


@pytest.mark.slow
def test_a_method_against_its_own_copy_is_no_different(tmp_path, monkeypatch):
    copy = METHODS["gd"]
    monkeypatch.setitem(METHODS, "pprs-copy", Method("pprs-copy", "copy", copy.space, copy.build))
    for family in families(studied(tmp_path, "gd", "pprs-copy")):
        (together,) = family.together.values()
        assert together.word == "no difference seen"
        assert together.wins == together.losses == 0
