import math
from dataclasses import replace

import pytest
from compare.made import FOUND, result

from pprs.compare.answer import answer, command
from pprs.compare.result import as_data
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


def test_a_better_method_is_named_with_its_interval_and_its_price():
    said = answer(result({"plain": [PLAIN], "smoothed": [moved(0.1)], "one-draw": [moved(-0.1)]}))
    assert said.startswith("Use smoothing + Adam with K = 12 instead of Adam: +0.1")
    assert said.endswith("a step takes 4 ms and 1 MiB, of Adam 2 ms and 1 MiB.")


def test_pipeline_time_and_wall_time_are_told_apart():
    said = answer(result({"plain": [PLAIN], "smoothed": [moved(0.1), moved(0.0, 0.01)]}))
    assert said.startswith("In a pipeline of 20 stages (at equal pipeline time) use smoothing")
    assert "; by the clock here (at equal wall time) stay with Adam: no difference was seen" in said
    other = answer(result({"plain": [PLAIN], "one-draw": [moved(-0.1), moved(0.1)]}))
    assert "(at equal pipeline time) stay with Adam: all others are worse" in other
    assert "; by the clock here (at equal wall time) use one draw + Adam instead of Adam" in other


def test_one_seed_is_a_no():
    assert answer(result({"plain": [[0.1]], "smoothed": [[0.9]]})).startswith(
        "Do not use smoothing here yet: one seed shows no difference"
    )


def test_of_a_loss_less_is_better():
    found = replace(FOUND, metric="loss")
    lower = result({"plain": [PLAIN], "smoothed": [moved(-0.1)]}, found)
    assert answer(lower).startswith(
        "Use smoothing + Adam with K = 12 instead of Adam: −0.0996 loss, "
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
