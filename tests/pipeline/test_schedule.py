import pytest
from torch.distributed.pipelining import Schedule1F1B, ScheduleGPipe

from pprs.pipeline import default_microbatches, schedule_class


def test_names():
    assert schedule_class("gpipe", stages=2, samples=8, microbatches=4) is ScheduleGPipe
    assert schedule_class("1f1b", stages=2, samples=8, microbatches=4) is Schedule1F1B


def test_numbers_that_do_not_fit_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="gpipe, 1f1b; got 'zb'"):
        schedule_class("zb", 2, 8, 4)
    with pytest.raises(ValueError, match="divide samples=10: got 4, possible are 1, 2, 5, 10"):
        schedule_class("gpipe", 2, 10, 4)
    with pytest.raises(ValueError, match="2 microbatches for 4 stages"):
        schedule_class("1f1b", 4, 8, 2)


@pytest.mark.parametrize(
    ("samples", "stages", "expected"), [(10, 2, 2), (10, 4, 5), (9, 2, 3), (1, 4, 1), (3, 8, 3)]
)
def test_by_default_every_stage_gets_a_microbatch(samples, stages, expected):
    assert default_microbatches(samples, stages) == expected
