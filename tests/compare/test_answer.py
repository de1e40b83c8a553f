import math
from dataclasses import replace

import pytest
from compare.made import FOUND, result

from pprs.compare.answer import answer, command
from pprs.compare.baseline import weak_search
from pprs.compare.doubt import doubt
from pprs.compare.summary import as_data
from pprs.compare.tables import tables
from pprs.io.folder import to_json

PLAIN = [0.50, 0.52, 0.51, 0.49, 0.53]


def moved(by, noise=0.002):
    return [x + by + noise * (-1) ** i for i, x in enumerate(PLAIN)]


def test_no_difference_is_a_no():
    said = answer(result({"plain": [PLAIN], "smoothed": [moved(0.001, 0.01)]}))
    assert said.startswith("Do not use smoothing here, stay with Adam: ")
    assert said.count("no difference was seen (nearest: smoothing + Adam, ") == 2
    assert "5 seeds, 95% intervals" in said


def test_worse_is_a_no():
    said = answer(result({"plain": [PLAIN], "smoothed": [moved(-0.1)]}))
    assert said.startswith("Do not use smoothing here, stay with Adam: ")
    assert said.count("all others are worse") == 2
    some = {"plain": [PLAIN], "smoothed": [moved(-0.1)], "pprs": [moved(0.001, 0.01)]}
    told = "no other was seen to be better, and 1 of 2 are worse (nearest: PPRS, "
    assert answer(result(some)).count(told) == 2


def test_a_better_method_is_named_with_its_interval_and_its_price():
    said = answer(result({"plain": [PLAIN], "smoothed": [moved(0.1)], "one-draw": [moved(-0.1)]}))
    assert said.startswith(
        "Use smoothing + Adam with K = 12 instead of Adam: +10.04 points of accuracy, +9.70 to "
    )
    assert said.endswith("a step takes 4 ms and 1 MiB, of Adam 2 ms and 1 MiB.")


def test_pipeline_time_and_wall_time_are_told_apart():
    said = answer(result({"plain": [PLAIN], "smoothed": [moved(0.1), moved(0.0, 0.01)]}))
    assert said.startswith("In a pipeline of 20 stages (at equal pipeline time) use smoothing")
    assert "; by the clock here (at equal wall time) stay with Adam: no difference was seen" in said
    other = answer(result({"plain": [PLAIN], "one-draw": [moved(-0.1), moved(0.1)]}))
    assert "(at equal pipeline time) stay with Adam: all others are worse" in other
    assert "; by the clock here (at equal wall time) use one draw + Adam instead of Adam" in other


def test_where_the_plain_optimizer_itself_diverged_nothing_is_told():
    made = result({"plain": [[0.1] * 5], "smoothed": [[0.9] * 5]})
    points = [replace(p, metric={**p.metric, "loss": math.nan})
              if p.method == "plain" and p.seed in (1, 3) else p for p in made.points]  # fmt: skip
    made = replace(made, points=points)
    said = answer(made)
    assert command(made) == ""
    assert set(as_data(made, said, 1.0)["answers"].values()) == {None}
    assert said.startswith("Nothing can be told: the loss of Adam itself was not finite with 2 ")


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_interval_and_no_verdict(seeds):
    made = result({"plain": [[0.1] * seeds], "smoothed": [[0.9] * seeds]}, time="3m", seeds=5)
    assert answer(made) == (
        f"Do not use smoothing here yet, stay with Adam: {seeds} seed{'s' * (seeds - 1)} cannot "
        f"tell a difference from chance; go on by the same command with --time 10s for 5."
    )
    asked = result({"plain": [[0.1] * seeds], "smoothed": [[0.9] * seeds]}, seeds=seeds)
    assert answer(asked).endswith("chance; give --seeds 5.")
    data = as_data(made, "", 1.0)
    assert data["methods"]["smoothed"]["at"]["seconds"]["difference"] is None
    assert "the same command goes on from there, and with --time 10s to the last" in str(
        data["left_out"]
    )


def test_the_sentence_says_of_how_many_steps_it_is():
    made = result({"plain": [PLAIN], "smoothed": [moved(-0.1)]}, steps=50, time="3m", seeds=5)
    said = answer(made)
    assert said.startswith("For the first 50 of your 100 steps (--time 10s is for all): do not use")
    assert as_data(made, said, 1.0)["answers"] == dict.fromkeys(
        ("pipeline_time", "seconds"), "plain"
    )


def test_what_was_cut_to_a_few_smoothed_steps_has_no_verdict():
    better = {"plain": [PLAIN], "smoothed": [moved(0.1)]}
    made = result(better, steps=6, time="3m", seeds=5, model="m.py:f", data="m.py:g")
    said = answer(made)
    assert said.startswith("For the first 6 of your 100 steps (--time ")
    assert "stay with Adam as yet: at equal pipeline time (20 stages) too short to tell, " in said
    assert "smoothing + Adam takes 3 steps: give --time " in said
    assert command(made) == ""
    assert as_data(made, said, 1.0)["answers"] == {"pipeline_time": None, "seconds": None}
    # Of the user's own length it is an answer.
    own = result(better, replace(FOUND, steps=6))
    assert answer(own).startswith("Use smoothing")


def test_a_busy_machine_leaves_wall_time_without_a_verdict():
    better = {"plain": [PLAIN], "smoothed": [moved(0.1)]}
    made = result(better, busy={"smoothed": 1.6})
    assert answer(made).endswith(
        "by the clock here (at equal wall time) nothing can be told, the seconds differ by up to "
        "1.6 times: the machine was busy; run it again under another --name (5 seeds, 95% "
        "intervals)."
    )
    data = as_data(made, "", 1.0)
    assert data["answers"] == {"pipeline_time": "smoothed", "seconds": None}
    assert data["doubts"].keys() == {"seconds"}
    assert not doubt(result(better, busy={"smoothed": 1.1}), "seconds")
    # All of them alike leave the steps as they are.
    assert not doubt(result(better, busy={"smoothed": 1.6, "plain": 1.6}), "seconds")


def test_tables_have_units_and_points_with_the_digits_that_intervals_bear():
    first, pipeline, wall = tables(result({"plain": [PLAIN], "smoothed": [moved(0.1)]}))
    assert "takes 1" in str(first.title)
    assert str(pipeline.title).startswith(
        "At equal pipeline time, 4,000 units; better by, in points"
    )
    assert str(wall.title).startswith("At equal wall time, 0.2 s")
    reached, ahead = (list(column.cells) for column in pipeline.columns[-2:])
    assert reached == ["51.0%", "61.0%"]
    assert ahead == ["", "+10.04 (+9.77, +10.31)"]


def test_of_a_loss_less_is_better():
    found = replace(FOUND, metric="loss")
    lower = result({"plain": [PLAIN], "smoothed": [moved(-0.1)]}, found)
    assert answer(lower).startswith(
        "Use smoothing + Adam with K = 12 instead of Adam: better by +0.0996 in loss, +0.0969 to "
    )
    difference = as_data(lower, "", 1.0)["methods"]["smoothed"]["at"]["seconds"]["difference"]
    assert difference["low"] < difference["mean"] < difference["high"] < 0
    higher = result({"plain": [PLAIN], "smoothed": [moved(0.1)]}, found)
    assert answer(higher).startswith("Do not use smoothing here")


def test_what_diverged_is_not_named():
    lost = [*moved(0.3)[:4], math.nan]
    made = result({"plain": [PLAIN], "smoothed": [lost]})
    assert "every other method diverged with some seed" in answer(made)
    assert "NaN" not in to_json(as_data(made, "", 1.0))


@pytest.mark.parametrize(("by", "words"), [(0.1, "--samples 12 --sigma 0.01"), (0.0, "")])
def test_the_method_to_use_comes_as_a_command(by, words):
    options = {"model": "mine.py:model", "data": "mine.py:data", "sigma": 0.01}
    made = command(result({"plain": [PLAIN], "smoothed": [moved(by, 0.01)]}, **options))
    assert words in made
    assert bool(made) == bool(words)


def searched(accuracies, chosen, held_out=12):
    """A result whose plain optimizer had these accuracies in its trials, by step size."""
    made = result({"plain": [PLAIN], "smoothed": [moved(0.1)]}, replace(FOUND, held_out=held_out))
    sizes = made.config.candidates("plain", len(accuracies))
    trials = [
        replace(made.points[0], phase="search", lr=size.lr, metric={"loss": 1.0, "accuracy": value},
                budgets=("pipeline_time", "seconds"))
        for size, value in zip(sizes, accuracies, strict=True)
    ]  # fmt: skip
    choices = {**made.choices, "plain": dict.fromkeys(made.choices["plain"], sizes[chosen])}
    ran = replace(made.ran, trials=len(accuracies))
    return replace(made, ran=ran, choices=choices, points=[*trials, *made.points])


def test_a_baseline_that_was_hardly_searched_is_told():
    assert weak_search(searched([0.5, 0.4, 0.3], 0)) == []
    (largest,) = weak_search(searched([0.4, 0.3, 0.5], 2))
    assert "0.009, is the largest that was tried" in largest
    (smallest,) = weak_search(searched([0.4, 0.5, 0.3], 1))
    assert "0.0009, is the smallest that was tried" in smallest
    (alike,) = weak_search(searched([1.0, 1.0, 1.0], 0))
    assert "the same accuracy on the 12 examples held out" in alike
    assert as_data(searched([1.0] * 3, 0), "", 1.0)["left_out"][-1] == alike
