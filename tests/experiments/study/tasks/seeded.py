"""What is asked of every task that draws images."""

import json
from dataclasses import asdict

import torch


def tensors(problem):
    """All that a problem starts from."""
    return [*problem.batch, *problem.model.parameters()]


def check_seeds(task):
    """The same seed gives the same problem, bit for bit; another seed other images and weights."""
    first, again, other = (tensors(task.problem(seed, None)) for seed in (5, 5, 6))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not first[0].equal(other[0])
    assert any(not a.equal(b) for a, b in zip(first[2:], other[2:], strict=True))


def check_global_generator(task):
    """Nothing is drawn from it."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    problem = task.problem(7, None)
    for metric in problem.final_metrics.values():
        metric()
    assert torch.rand(3).equal(expected)


def check_json(task):
    """The settings go through JSON and back."""
    settings = asdict(task)
    assert type(task)(**json.loads(json.dumps(settings))) == task


def as_bytes(examples, scale, brightest=16):
    """Standardised images as they were; each one as a tuple."""
    found = ((examples.x * scale.deviation + scale.mean) * brightest).round()
    return [tuple(image.flatten().int().tolist()) for image in found]
