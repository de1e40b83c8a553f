import math

import pytest

from experiments.study.small import DEPTH, SmallTask, small_cell
from pprs_experiments.study.cell import Goal
from pprs_experiments.study.run import Outcome, Point


def outcome(*losses, diverged=False):
    points = [
        Point(step, 10.0 * step, 2.0 * step, 0.1, loss, {"accuracy": 1 - loss})
        for step, loss in enumerate(losses)
    ]
    return Outcome(tuple(points), diverged)


def test_a_goal_without_target_is_what_the_end_gives():
    assert Goal("training_loss", "lower").value(outcome(3.0, 2.0, 1.0), "time") == 1.0
    assert Goal("accuracy", "higher").value(outcome(0.9, 0.25), "time") == 0.75


def test_a_run_that_diverged_is_infinitely_bad():
    low, high = Goal("training_loss", "lower"), Goal("accuracy", "higher")
    lost = outcome(0.5, 0.1, diverged=True)
    assert low.value(lost, "time") == math.inf
    assert high.value(lost, "time") == -math.inf
    assert low.score(lost, "time") > low.score(outcome(1e20), "time")
    assert high.score(lost, "time") < high.score(outcome(1e20), "time")


def test_a_goal_with_target_is_what_was_spent_until_the_first_point_that_reached_it():
    goal = Goal("accuracy", "higher", target=0.5)
    found = outcome(0.9, 0.5, 0.8, 0.1)
    assert goal.better_value == "lower"
    assert (goal.value(found, "time"), goal.value(found, "evaluations")) == (10.0, 2.0)
    assert goal.value(outcome(0.9, 0.8), "time") == math.inf


def test_what_came_closer_to_its_target_scores_better_and_what_reached_it_best():
    goal = Goal("training_loss", "lower", target=0.01)
    scores = [goal.score(outcome(1.0, *rest), "time") for rest in ([0.01], [0.02], [0.5])]
    assert scores == sorted(scores)
    assert len(set(scores)) == 3
    assert scores[-1] < goal.score(outcome(1.0, 1.0, diverged=True), "time") == 1e30


def test_a_budget_pays_for_so_many_plain_gradients():
    price = SmallTask().problem(0, None).price()
    assert small_cell().budget(None).time == pytest.approx(20 * price.time)
    assert small_cell(spent="evaluations").budget(None).evaluations == 20


def test_the_digest_tells_all_settings_apart():
    cell = small_cell()
    others = [
        small_cell(name="other"),
        small_cell(task=SmallTask(depth=DEPTH + 1)),
        small_cell(spent="evaluations"),
        small_cell(steps=21),
        small_cell(goal=Goal("double", "lower")),
        small_cell(tuned_by=Goal("double", "lower")),
    ]
    digests = {each.digest("gd") for each in [cell, *others]} | {cell.digest("pprs")}
    assert len(digests) == len(others) + 2
    # What is not said of the result itself does not make it stale.
    assert small_cell(methods=("gd",), questions=(4,)).digest("gd") == cell.digest("gd")


def test_a_cell_compares_something():
    with pytest.raises(ValueError, match="cell small must compare methods, got none"):
        small_cell(methods=())
