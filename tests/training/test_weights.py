"""The weights that a run ends with."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn

from pprs.pipeline import Pipeline
from pprs.training.stages import Stages


class Versioned(nn.Linear):
    def get_extra_state(self):
        return {"version": 1}

    def set_extra_state(self, state):
        pass


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_they_are_the_tensors_of_a_state_that_has_others_too(alone):
    model = nn.Sequential(Versioned(4, 4), nn.Linear(4, 2))
    stages = Stages.__new__(Stages)
    stages.pipeline = Pipeline(model, nn.functional.mse_loss, schedule="looped-bfs")
    stages._task, stages._group = SimpleNamespace(model=model), None
    weights = stages.weights()
    assert weights.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(weights[name], p) for name, p in model.named_parameters())
