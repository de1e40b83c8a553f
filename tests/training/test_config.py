import pytest
import torch
from torch import nn

from pprs.smoothing import Perturbation
from pprs.training import TrainConfig
from pprs.training.data import BatchOrder, Examples
from pprs.training.learning import Learning
from pprs.training.losses import cross_entropy
from pprs.training.record import as_used
from pprs.training.task import Task

NAMED = {"model": "a:b", "data": "a:c"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "model is missing: pass --model"),
        ({"steps": None}, "exactly one of steps and epochs .* got neither"),
        ({"epochs": 2}, "exactly one of steps and epochs .* got both"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"lr": 0.0}, 'lr must be above 0 or "search", got 0.0'),
        ({"clip": -1.0}, "clip must be above 0"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"loss": "l1"}, "loss must be one of cross-entropy, .*, or module:function, got 'l1'"),
        ({"optimizer": "lion"}, "optimizer must be one of agd"),
        ({"decay": "step"}, "decay must be one of constant"),
        ({"loss": "crossentropy"}, "got 'crossentropy': did you mean 'cross-entropy'\\?"),
        ({"optimizer": "adm"}, "got 'adm': did you mean 'adam'\\?"),
        ({"momentum": "nesterov", "optimizer": "sgd"}, "is for agd, got sgd"),
        ({"weight_decay": 0.1}, "weight_decay is for sgd, adam, adamw, got agd"),
        ({"warmup": 3, "decay": "a:b"}, "warmup is for constant"),
        ({"samples": 4, "sigma": 0.0}, "sigma=0 makes all samples=4 equal"),
        ({"samples": 4}, "samples=4 before agd needs a sigma"),
        ({"samples": 4, "optimizer": "sgd"}, "samples=4 before sgd needs a sigma"),
        ({"samples": "auto"}, "samples=2 before agd needs a sigma"),
        ({"samples": "auto", "sigma": 0.1, "stages": 1}, "one stage never waits: pass a number"),
        ({"sigma": -1.0}, "sigma .* got -1.0"),
        ({"sigma": 0.1, "samples": 4, "microbatches": 3}, "must divide samples=4: got 3"),
        ({"schedule": "zb-v", "stages": 3}, "multiple of 2, got 3"),
        ({"target_accuracy": 90.0}, "target_accuracy must be above 0, up to 1: got 90.0"),
        ({"name": "a/b"}, "single folder's name"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**NAMED | {"steps": 1} | changes)


def test_microbatches_divide_perturbations_only_if_there_are_several():
    assert TrainConfig(**NAMED, steps=1).divided == "examples"
    assert TrainConfig(**NAMED, steps=1).perturbation.sigma == 0
    unset = TrainConfig(**NAMED, steps=1, samples=8, optimizer="adam").perturbation
    assert unset == Perturbation(0.01, 8, scale="filter")
    assert TrainConfig(**NAMED, steps=1, sigma=0.1).divided == "examples"
    assert TrainConfig(**NAMED, steps=1, sigma=0.1, samples=2).divided == "perturbations"
    assert TrainConfig(**NAMED, steps=1, stages=4, schedule="zb-v", replicas=3).processes == 6


def test_step_sizes_suit_the_optimizer_where_none_is_given():
    sizes = {
        name: TrainConfig(**NAMED, steps=1, optimizer=name).step_size
        for name in ("agd", "sgd", "adam", "adamw")
    }
    assert sizes == {"agd": 0.01, "sgd": 0.01, "adam": 0.001, "adamw": 0.001}
    assert TrainConfig(**NAMED, steps=1, optimizer="adam", lr=0.1).step_size == 0.1
    rmsprop = TrainConfig(**NAMED, steps=1, optimizer="torch.optim:RMSprop", decay="cosine")
    learning = Learning(rmsprop, nn.Linear(1, 1).parameters(), 10)
    assert learning.lr == torch.optim.RMSprop([torch.ones(1)]).defaults["lr"]


def test_as_many_perturbations_as_stages_wait_for_where_none_is_given():
    def count(**changes):
        config = TrainConfig(**NAMED, steps=1, samples="auto", sigma=0.1, **changes)
        assert config.perturbation.samples == config.count
        return config.count

    assert count(stages=2) == 2
    assert count(stages=5) == 5
    assert count(stages=5, antithetic=True) == 6
    assert count(stages=4, lr="search") == 6
    assert count(stages=4, lr="search", antithetic=True) == 6


def test_what_was_set_and_what_was_taken_are_told_apart():
    config = TrainConfig(**NAMED, epochs=2, samples=8, optimizer="adam")
    order = BatchOrder(examples=50, batch=32, accumulate=1, seed=0)
    examples = Examples([(torch.ones(1), 0)])
    task = Task(nn.Linear(1, 1), examples, None, cross_entropy, order, 4)
    used = as_used(config, task, 2)
    expected = {"sigma": 0.01, "scale": "filter", "batch": 32, "split": "perturbations", "steps": 4}
    expected["lr"] = 0.001
    expected["perturbation"] = "8 perturbations, 0.01 of each filter's norm"
    assert {name: used[name] for name in expected} == expected
    assert "microbatches" not in as_used(config, task, None)
    assert config.sigma is config.scale is config.batch is config.lr is None
