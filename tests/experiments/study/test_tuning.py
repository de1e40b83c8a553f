import math

import pytest

from pprs_experiments.study.methods import Choice, LogUniform
from pprs_experiments.study.tuning import tune

pytest.importorskip("optuna")

SPACE = {"lr": LogUniform(1e-3, 10.0), "momentum": Choice((0.0, 0.9, "nesterov"))}


def distance(h):
    return abs(math.log(h["lr"])) + (h["momentum"] != 0.9)


def test_it_finds_what_is_good_and_says_how_good():
    found, score = tune("lower", SPACE, distance, trials=30, seed=1)
    assert score == distance(found) < 0.3
    best, high = tune("higher", SPACE, lambda h: -distance(h), trials=30, seed=1)
    assert high == -distance(best) > -0.3


def test_every_method_gets_the_same_number_of_trials():
    tried = []
    tune("lower", SPACE, lambda h: tried.append(h) or 1.0, trials=7, seed=1)
    assert len(tried) == 7
    assert tried[0] == {"lr": pytest.approx(0.1), "momentum": 0.9}  # the middle
    assert all(1e-3 <= h["lr"] <= 10 and h["momentum"] in (0.0, 0.9, "nesterov") for h in tried)


def test_where_there_is_nothing_to_search_there_is_one_trial():
    tried = []
    assert tune("lower", {}, lambda h: tried.append(h) or 2.0, trials=7, seed=1) == ({}, 2.0)
    assert tried == [{}]


def test_the_same_seed_tries_the_same():
    tried = []
    found = [
        tune("lower", SPACE, lambda h: tried.append(h) or distance(h), trials=12, seed=seed)
        for seed in (3, 3, 4)
    ]
    assert found[0] == found[1]
    assert tried[:12] == tried[12:24] != tried[24:]


def test_of_few_settings_each_is_tried_once():
    space, tried = {"lr": Choice((1, 2, 3)), "k": Choice((4, 5))}, []
    found = tune("lower", space, lambda h: tried.append(h) or -h["lr"] * h["k"], trials=6, seed=1)
    assert found == ({"lr": 3, "k": 5}, -15)
    assert len(tried) == len({tuple(h.items()) for h in tried}) == 6
