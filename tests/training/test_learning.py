import json
import math

import pytest
import torch
from torch import nn

from pprs.optim.registry import OPTIMIZERS
from pprs.training import TrainConfig
from pprs.training.learning import Learning
from pprs.training.losses import cross_entropy

BASE = {"model": "a:b", "data": "a:c", "steps": 10, "optimizer": "sgd", "lr": 0.5}


def learning(steps=10, **changes):
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    return Learning(TrainConfig(**BASE | changes), [parameter], steps)


def course(learner, steps):
    seen = []
    for _ in range(steps):
        seen.append(learner.lr)
        learner.step()
    return seen


def test_the_step_size_rises_and_decays():
    expected = [0.5 / 3, 1 / 3] + [0.5 * (1 + math.cos(math.pi * i / 8)) / 2 for i in range(8)]
    assert course(learning(decay="cosine", warmup=2), 10) == pytest.approx(expected)
    assert course(learning(decay="linear"), 10) == pytest.approx(
        [0.05 * i for i in range(10, 0, -1)]
    )
    assert set(course(learning(), 10)) == {0.5}


def test_a_users_optimizer_and_scheduler_are_taken(tmp_path, monkeypatch):
    (tmp_path / "halving.py").write_text(
        "import torch\n"
        "def halved(optimizer):\n"
        "    return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)\n"
    )
    monkeypatch.chdir(tmp_path)
    learner = learning(optimizer="torch.optim:RMSprop", decay="halving.py:halved")
    assert type(learner.optimizer) is torch.optim.RMSprop
    assert course(learner, 3) == [0.5, 0.25, 0.125]


def again(before, **changes):
    """One that goes on from another, whose state has been in a file."""
    after = learning(**changes)
    after.optimizer.load_state_dict(before.optimizer.state_dict())
    after.load(json.loads(json.dumps(before.state())))
    return after


def test_it_goes_on_bit_for_bit():
    whole = course(learning(decay="cosine", warmup=1), 10)
    half = learning(decay="cosine", warmup=1)
    assert course(half, 4) == whole[:4]
    assert course(again(half, decay="cosine", warmup=1), 6) == whole[4:]


def test_what_was_set_anew_is_taken_over():
    half = learning(decay="linear")
    course(half, 4)
    more = again(half, decay="linear", lr=1.0, momentum=0.5, steps=20)
    assert more.optimizer.param_groups[0]["momentum"] == 0.5
    assert course(more, 2) == pytest.approx([0.8, 0.75])
    longer = learning(steps=20, decay="linear")
    longer.optimizer.load_state_dict(half.optimizer.state_dict())
    longer.load(half.state())
    assert course(longer, 2) == pytest.approx([0.5 * 16 / 20, 0.5 * 15 / 20])


def test_a_stage_without_parameters_has_an_optimizer():
    for name in OPTIMIZERS:
        Learning(TrainConfig(**BASE | {"optimizer": name}), [], 10).step()


def test_cross_entropy_counts_each_token():
    outputs, labels = torch.randn(2, 3, 5), torch.tensor([[1, 2, 3], [4, 0, -100]])
    expected = -outputs.log_softmax(-1)[[0, 0, 0, 1, 1], [0, 1, 2, 0, 1], [1, 2, 3, 4, 0]].mean()
    assert cross_entropy(outputs, labels) == pytest.approx(expected.item())
