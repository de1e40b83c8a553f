import math

import pytest
import torch

from pprs.cli import main
from pprs.compare import CompareConfig
from pprs.compare.run import Point, TrainingRun, examples
from pprs.compare.search import Trial, candidates, choose, hold_out


def trial(method, lr, accuracy, loss=0.1, seed=0):
    return Trial(TrainingRun(config(), method, lr, seed), Point(1, 1, 0.0, 0.0, loss, accuracy))


def config(**options):
    return CompareConfig(**{"methods": ("gd",), "lr": (0.1, 0.2, 0.3)} | options)


def test_the_highest_mean_accuracy_wins_and_equals_go_to_the_lower_loss():
    trials = [trial("gd", 0.1, 0.5, 0.2), trial("gd", 0.2, 0.7, 0.3), trial("gd", 0.3, 0.7, 0.1)]
    assert choose(config(), trials)["gd"].lr == 0.3
    more = [
        trial("gd", 0.1, 0.9, seed=1),
        trial("gd", 0.2, 0.1, seed=1),
        trial("gd", 0.3, 0.1, seed=1),
    ]
    assert choose(config(), trials + more)["gd"].lr == 0.1


def test_diverged_step_sizes_are_out():
    trials = [trial("gd", lr, 0.9 - lr, math.nan if lr < 0.3 else 0.1) for lr in (0.1, 0.2, 0.3)]
    assert choose(config(), trials)["gd"].lr == 0.3
    lost = [trial("gd", lr, 0.5, math.inf) for lr in (0.1, 0.2, 0.3)]
    with pytest.raises(
        RuntimeError, match=r"GD diverged with every step size tried \(0.1, 0.2, 0.3"
    ):
        choose(config(), lost)


def test_a_single_step_size_needs_no_search():
    assert candidates(config(lr=(0.1,))) == []
    assert choose(config(lr=(0.1,)), [])["gd"].lr == 0.1
    assert len(candidates(config(seeds=2))) == 6


def test_held_out_images_are_training_images_that_the_search_does_not_train_on():
    train, _ = examples(CompareConfig(), 0)
    first, held = hold_out(CompareConfig(), 0)
    assert first.y.bincount().tolist() == [3] * 10
    assert held.y.bincount().tolist() == [2] * 10
    together = torch.cat([first.x, held.x])
    assert len(torch.cat([together, train.x]).unique(dim=0)) == len(train)


def test_a_step_size_that_diverges_ends_its_trial_and_not_the_job(tmp_path):
    """In a real run: losses that overflow are a result."""
    options = ["--methods", "gd", "pprs", "--depth", "3", "--width", "4", "--seeds", "1"]
    more = ["--budget", "60", "--samples", "4", "--points", "2", "--lr", "1e30", "0.01"]
    assert main(["compare", *options, *more, "--out", str(tmp_path)]) == 0
