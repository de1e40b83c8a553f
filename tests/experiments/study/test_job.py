import math

import pytest

from experiments.study.small import small_cell
from pprs_experiments.study.cell import Goal
from pprs_experiments.study.job import Effort, Job
from pprs_experiments.study.results import Result

pytest.importorskip("optuna")

EFFORT = Effort(trials=3, tuning_seeds=1, seeds=2, points=4)


def computed(method="pprs", effort=EFFORT, **changes):
    return Job(small_cell(**changes), method, effort).compute(None)


def facts(result):
    """All but the times of this machine."""
    times = {"seconds": 0.0, "runs": ()}
    runs = [{**vars(run), "wall_time": 0.0} for run in result.runs]
    return {**vars(result), **times}, runs


def test_the_same_job_has_the_same_result():
    assert facts(computed()) == facts(computed())


def test_a_result_tells_what_was_run():
    found = computed(spent="evaluations")
    assert (found.cell, found.spent, found.method) == ("small", "evaluations", "pprs")
    assert set(found.hyperparameters) == {"lr", "momentum", "sigma", "samples"}
    assert [run.seed for run in found.runs] == [0, 1]
    for run in found.runs:
        assert run.evaluations == run.steps * found.hyperparameters["samples"] <= 20
        assert run.value == run.training_loss == pytest.approx(run.metrics["double"] / 2)
        assert run.history[-1][1:] == (run.evaluations, run.training_loss)


def test_a_method_with_nothing_to_tune_says_that_nothing_was_tried():
    found = computed("searched-adam", steps=100)
    assert (found.trials, dict(found.hyperparameters)) == (0, {})
    assert all(run.training_loss < run.history[0][2] for run in found.runs)
    assert computed().trials == EFFORT.trials


def test_hyperparameters_are_judged_by_the_mean_over_the_tuning_problems(monkeypatch):
    scores = {}
    score = Goal.score

    def kept(self, outcome, spent):
        return scores.setdefault(outcome.last.training_loss, score(self, outcome, spent))

    monkeypatch.setattr(Goal, "score", kept)
    found = computed(effort=Effort(trials=1, tuning_seeds=2, seeds=1))
    assert len(set(scores.values())) == 2
    assert found.tuned == pytest.approx(sum(scores.values()) / 2)


def test_methods_meet_the_same_problems_and_budgets_too_but_cells_do_not():
    def starts(result):
        return [run.history[0][2] for run in result.runs]

    gd = starts(computed("gd"))
    assert starts(computed("pprs")) == starts(computed("gd", spent="evaluations")) == gd
    assert set(starts(computed("gd", name="other"))).isdisjoint(gd)
    assert gd[0] != gd[1]


def test_problems_of_tuning_are_others_than_those_of_the_runs(monkeypatch):
    drawn = []
    task = type(small_cell().task)
    problem = task.problem
    monkeypatch.setattr(
        task,
        "problem",
        lambda self, seed, folder: drawn.append(seed) or problem(self, seed, folder),
    )
    computed("gd", effort=Effort(trials=2, tuning_seeds=3, seeds=4))
    tuning, runs = drawn[1:7], drawn[7:]  # the first tells the price
    assert len(set(tuning)) == 3
    assert len(set(runs)) == 4
    assert set(tuning).isdisjoint(runs)


def test_a_run_ends_where_it_reaches_its_target():
    goal = Goal("training_loss", "lower", target=2.2)
    found = computed("gd", tuned_by=goal, goal=goal, steps=300)
    assert found.goal.target == 2.2
    for run in found.runs:
        reached = math.isfinite(run.value)
        assert (run.training_loss <= 2.2) == reached
        assert run.value == (run.pipeline_time if reached else math.inf)
    assert any(math.isfinite(run.value) for run in found.runs)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="unknown method 'sgdd': there are gd, "):
        Job(small_cell(), "sgdd", Effort(1, 1, 1))


@pytest.mark.parametrize("name", ["trials", "tuning_seeds", "seeds", "points"])
def test_effort_is_counted(name):
    with pytest.raises(ValueError, match=name):
        Effort(**{"trials": 1, "tuning_seeds": 1, "seeds": 1, name: 0})


def test_a_result_survives_a_file():
    found = computed()
    again = Result.from_line(found.to_line())
    assert again == Result.from_line(again.to_line())
    assert again.hyperparameters["lr"] == pytest.approx(found.hyperparameters["lr"])


def test_what_was_never_reached_is_infinite_after_a_file_whatever_is_better():
    goal = Goal("double", "higher", target=1e9)
    found = computed("gd", tuned_by=goal, goal=goal, steps=2)
    again = Result.from_line(found.to_line())
    assert found.values == again.values == (math.inf, math.inf)
