from dataclasses import replace
from functools import partial

import pytest
from pipeline.ranks import on_ranks
from plan.made import cut_at
from plan.models import subject

from pprs.pipeline import chain
from pprs.plan.predict import Setting
from pprs.plan.probe import Probe

pytestmark = pytest.mark.dist


def rows_of_last_stage(build, setting):
    """What the last stage is given by a step, without the features."""
    made = build()
    made = replace(made, model=chain(made.model, *made.example))
    probe = Probe(made, setting)
    given = []
    for number, stage in probe._pipeline.local.items():
        if number == 1:
            stage.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].shape[:2]))
    probe.take(kept=True)
    return given[-1] if given else None


@pytest.mark.parametrize(("samples", "rows"), [(0, (1, 4)), (2, (2, 4))])
def test_each_stage_runs_a_plain_batch_once(samples, rows):
    setting = Setting("gpipe", cut_at(3, 2), samples, 1, 4)
    found = on_ranks(2, rows_of_last_stage, partial(subject, "chain"), setting)
    assert found == [None, rows]
