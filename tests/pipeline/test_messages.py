import pytest
import torch
import torch.nn.functional as F
from pipeline.ranks import on_ranks
from torch import nn

from pprs.pipeline import Pipeline

pytestmark = pytest.mark.dist


def asked_for_at_first_pass(schedules):
    """By schedule: the later microbatches whose messages are asked for when the first one runs."""
    return {schedule: _asked_for(schedule) for schedule in schedules}


def _asked_for(schedule):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    pipeline = Pipeline(
        *(network, F.cross_entropy), samples=4, sigma=0.1, seed=0, microbatches=4, schedule=schedule
    )
    batch, asked = (torch.randn(2, 3), torch.arange(2)), []
    pipeline.step(*batch)
    (setup,) = pipeline._engine._ready.values()
    for stage in setup.stages:

        def look(*_, stage=stage):
            asked.append([number for number in range(4) if stage.is_due(True, number)])

        pipeline.local[stage.stage_index].register_forward_pre_hook(look)
    pipeline.step(*batch)
    return asked[0]


def test_messages_are_asked_for_before_their_passes_where_a_process_has_one_stage():
    first, second = on_ranks(2, asked_for_at_first_pass, ("gpipe", "1f1b", "looped-bfs"))
    assert first == {"gpipe": [], "1f1b": [], "looped-bfs": []}
    assert second == {"gpipe": [1, 2, 3], "1f1b": [1, 2, 3], "looped-bfs": []}
