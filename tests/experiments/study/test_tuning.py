import math

import pytest

from pprs_experiments.study.methods import Choice, LogUniform

optuna = pytest.importorskip("optuna")

from pprs_experiments.study.tuning import tune  # noqa: E402

SPACE = {"lr": LogUniform(1e-3, 10.0), "momentum": Choice((0.0, 0.9, "nesterov"))}


@pytest.fixture(autouse=True)
def silent():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def study(direction="minimize", **settings):
    return optuna.create_study(direction=direction, **settings)


def distance(h):
    return abs(math.log(h["lr"])) + (h["momentum"] != 0.9)


def test_it_finds_what_is_good_and_says_how_good():
    found, score = tune(study(), SPACE, distance, trials=30, seed=1)
    assert score == distance(found) < 0.3
    best, high = tune(study("maximize"), SPACE, lambda h: -distance(h), trials=30, seed=1)
    assert high == -distance(best) > -0.3


def test_every_method_gets_the_same_number_of_trials():
    tried = []
    tune(study(), SPACE, lambda h: tried.append(h) or 1.0, trials=7, seed=1)
    assert len(tried) == 7
    assert tried[0] == {"lr": pytest.approx(0.1), "momentum": 0.9}  # the middle
    assert all(1e-3 <= h["lr"] <= 10 and h["momentum"] in (0.0, 0.9, "nesterov") for h in tried)


def test_an_interrupted_search_ends_as_one_that_was_not(tmp_path):
    def whole(h):
        tried.append(h)
        return distance(h)

    def failing(h):
        if len(tried) == 5:
            raise KeyboardInterrupt
        return whole(h)

    tried = []
    wanted = tune(study(), SPACE, whole, trials=12, seed=3), tried
    tried = []
    kept = study(storage=f"sqlite:///{tmp_path}/s.db", study_name="kept")
    with pytest.raises(KeyboardInterrupt):
        tune(kept, SPACE, failing, trials=12, seed=3)
    kept.ask()  # one that was killed while it ran
    assert (tune(kept, SPACE, whole, trials=12, seed=3), tried) == wanted


def test_a_finished_search_is_not_repeated():
    kept = study()
    wanted = tune(kept, SPACE, distance, trials=5, seed=3)
    assert tune(kept, SPACE, lambda h: 1 / 0, trials=5, seed=3) == wanted


def test_trials_that_others_added_meanwhile_do_not_count():
    kept, scores = study(), []
    tune(kept, SPACE, lambda h: scores.append(distance(h)) or scores[-1], trials=12, seed=3)
    first = [min(scores[: n + 1]) for n in range(12)]
    assert first[3] > first[-1]  # a later one is better
    assert tune(kept, SPACE, lambda h: 1 / 0, trials=4, seed=3)[1] == first[3]
