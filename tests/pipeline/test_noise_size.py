"""A sigma that is too large or too small is told by a pipeline, and changes nothing else."""

import functools

import pytest
import torch
import torch.nn.functional as F
from pipeline.ranks import merged, on_ranks
from torch import nn

from pprs.pipeline import Pipeline
from pprs.smoothing import Perturbation

pytestmark = pytest.mark.dist
X = torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
Y = torch.arange(20) % 5
CASES = {
    "large": {"perturbation": Perturbation(0.1, 4)},
    "of examples": {"perturbation": Perturbation(0.1, 4), "split": "examples"},
    "for each example": {"perturbation": Perturbation(0.1, 4, noise="example")},
    "small": {"perturbation": Perturbation(1e-9, 4, scale="filter")},
    "usual": {"perturbation": Perturbation.filter(0.01, 4)},
    "usual, of examples": {"perturbation": Perturbation.filter(0.01, 4), "split": "examples"},
    "none": {},
    "not asked": {"perturbation": Perturbation(0.1, 4), "check": False},
}


def deep(dropout=0.0):
    torch.manual_seed(0)
    layers = []
    for fan_in in (16, *[128] * 6):
        layers += [nn.Linear(fan_in, 128), nn.ReLU(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(128, 5))
    for layer in list(model)[::3]:
        nn.init.kaiming_normal_(layer.weight)
    return model


def stepped(model, said, steps=5, **how):
    pipeline = Pipeline(model, F.cross_entropy, seed=0, **how)
    if pipeline.noise_size is not None:
        pipeline.noise_size.tell = said.append
    optimizer = torch.optim.SGD(pipeline.named_parameters().values(), 0.01)
    for _ in range(steps):
        pipeline.step(X, Y)
        optimizer.step()
    return {n: (p.detach(), p.grad) for n, p in pipeline.named_parameters().items()}


def told():
    """What is said in each case; all ranks get through all of them, whoever has said something."""
    found = {}
    for name, how in CASES.items():
        stepped(deep(), found.setdefault(name, []), **how)
    return found


def with_and_without(check):
    torch.manual_seed(3)
    found = stepped(deep(0.3), [], check=check, perturbation=Perturbation(0.1, 4), replicas=1)
    return found, torch.rand(3).tolist()


def test_the_last_stage_tells_it_once():
    first, last = on_ranks(2, told)
    assert {name: len(said) for name, said in last.items()} == {
        "large": 1, "of examples": 1, "for each example": 1, "small": 1,
        "usual": 0, "usual, of examples": 0, "none": 0, "not asked": 0,
    }  # fmt: skip
    assert "sigma 0.1 is too large" in last["large"][0]
    assert "1e-09 of each filter's norm is too small" in last["small"][0]
    assert not any(first.values())


def test_nothing_else_changes():
    runs = [on_ranks(2, functools.partial(with_and_without, check)) for check in (True, False)]
    (steps, drawn), (steps_, drawn_) = (
        (merged(found for found, _ in run), [numbers for _, numbers in run]) for run in runs
    )
    assert drawn == drawn_
    for name, (value, gradient) in steps.items():
        assert torch.equal(value, steps_[name][0])
        assert torch.equal(gradient, steps_[name][1])
