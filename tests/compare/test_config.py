from pathlib import Path

import pytest

from pprs.compare import CompareConfig
from pprs.compare.methods import METHODS, MOST_TRIALS

OWN = {"model": "mine.py:model", "data": "mine.py:data"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(seeds=0), "seeds must be at least 1, got 0"),
        (
            dict(model="", data=""),
            "model must be package.module:function or file.py:function, got ''",
        ),
        (dict(stages=3, depth=2), "depth 2, and 3 processes"),
        (dict(methods=("gd", "gd")), "each method once"),
        (dict(methods=("plain",)), "one to compare with"),
        (dict(stages=2, microbatches=5), "got 5, possible are 1, 2, 3, 4, 6, 12"),
        (dict(samples=10), "samples must be a multiple of 3 for the searched step, got 10"),
        (dict(samples=10, methods=("smoothed",)), None),
        (dict(samples=1, methods=("smoothed",)), "samples must be at least 2, got 1"),
        (dict(schedule="1f1b", microbatches=6, stages=4, depth=4), None),
        (dict(schedule="1f1b", microbatches=3, stages=4), "3 microbatches for 4 stages"),
        (dict(name="a/b"), "single folder"),
        (dict(lr=-1.0), "lr must be above 0, got -1.0"),
        (dict(sigma=0.0), "sigma must be above 0, got 0.0"),
        (dict(trials=10), "trials go up to 9, got 10"),
        (dict(held_out=1.0), "held_out must be a share between 0 and 1, got 1.0"),
        (dict(steps=10, epochs=2), "pass one of them"),
        (dict(momentum=-0.5), "momentum.*-0.5"),
        (dict(time="soon"), "such as 90s, 5m or 1h, got 'soon'"),
        (dict(time="0s"), "got '0s'"),
        (dict(model="mine.py:model"), "data is missing beside --model mine.py:model"),
        (OWN | dict(shots=2), "for the digits"),
        (OWN | dict(shift_labels=True, loss="mse"), "shift_labels is for cross-entropy"),
        (dict(optimizer="adan"), "optimizer must be one of .*'adan'"),
        (dict(trace=Path("nowhere/t.json")), "nowhere is not a folder"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, message):
    if message is None:
        CompareConfig(**options)
    else:
        with pytest.raises(ValueError, match=message):
            CompareConfig(**options)


@pytest.mark.parametrize(("said", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("7", 7)])
def test_the_time_has_a_unit(said, seconds):
    assert CompareConfig(time=said).limit == seconds


def test_steps_are_recorded_of_the_digits_in_one_process_or_where_asked_for():
    def recorded(config, **how):
        made = [
            config.training(m, config.candidates(m, 1)[0], 1, 0, **how) for m in config.compared
        ]
        return {settings.capture for settings in made}

    assert recorded(CompareConfig()) == recorded(CompareConfig(**OWN, capture=True)) == {True}
    assert recorded(CompareConfig(stages=2), alone=True) == {True}
    for config in (CompareConfig(**OWN), CompareConfig(capture=False), CompareConfig(stages=2)):
        assert recorded(config) == {False}
    assert (
        recorded(CompareConfig(), traced=True) == recorded(CompareConfig(microbatches=3)) == {False}
    )


def test_all_methods_that_are_tuned_have_as_many_different_trials():
    for options in ({}, {"sigma": 0.1}, {"optimizer": "agd"}, {"lr": 0.5}):
        config = CompareConfig(full=True, **options)
        for method in config.compared:
            for trials in (1, 4, MOST_TRIALS):
                tried = config.candidates(method, trials)
                searched = METHODS[method].gradient == "searched"
                assert len(set(tried)) == len(tried) == (1 if searched else trials)
                assert tried == config.candidates(method, MOST_TRIALS)[: len(tried)]


def test_a_step_size_that_is_known_is_tried_first():
    config = CompareConfig(lr=0.5)
    assert config.candidates("plain", 3)[0].lr == config.candidates("smoothed", 3)[0].lr == 0.5
    assert config.candidates("pprs", 3)[0].lr != 0.5  # another optimizer


def test_before_agd_smoothing_is_pprs_and_compared_once():
    assert CompareConfig(optimizer="agd").compared == ("plain", "one-draw", "pprs", "searched")


def test_the_plain_method_is_what_plain_training_is():
    config = CompareConfig(**OWN, optimizer="sgd", weight_decay=0.1, decay="cosine", clip=1.0)
    setting = config.candidates("plain", 1)[0]
    made = config.training("plain", setting, 10, 3)
    assert (made.perturbation.sigma, made.samples, made.seed, made.lr) == (0.0, 1, 3, 0.03)
    assert (made.weight_decay, made.decay, made.clip) == (0.1, "cosine", 1.0)
    searched = config.training("searched", config.candidates("searched", 1)[0], 10, 3)
    assert (searched.lr, searched.decay) == ("search", "constant")
