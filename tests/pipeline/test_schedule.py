import pytest
from torch.distributed.pipelining import (
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleZBVZeroBubble,
)

from pprs.pipeline import Mesh, stages_each
from pprs.pipeline.schedule import check_schedule, default_microbatches
from pprs.theory import Graph, clock_table


def checked(name, *, ranks=2, each=None, samples=8, microbatches=4, replicas=1):
    each = stages_each(name, each)
    return check_schedule(name, Mesh(replicas, ranks), each, microbatches, samples=samples)


def test_names_are_those_of_the_engine():
    assert checked("gpipe").engine is ScheduleGPipe
    assert checked("1f1b").engine is Schedule1F1B
    assert checked("zb-v").engine is ScheduleZBVZeroBubble
    assert checked("1f1b", microbatches=1).engine is ScheduleGPipe


def test_stages_lie_in_a_row_in_a_loop_or_in_a_v():
    assert checked("gpipe").owners(3, 1) == [0, 1, 2]
    assert checked("looped-bfs").owners(2, 2) == [0, 1, 0, 1]
    assert checked("interleaved-1f1b").stages_of(1, 2, 3) == [1, 3, 5]
    assert checked("zb-v").owners(2, 2) == [0, 1, 1, 0]


@pytest.mark.parametrize("microbatches", [2, 4, 6])
def test_the_interleaved_order_of_the_engine_is_that_of_the_theory(microbatches):
    engine = object.__new__(ScheduleInterleaved1F1B)
    engine.pp_group_size, engine.n_local_stages = 2, 2
    engine.number_of_rounds, engine.microbatches_per_round = microbatches // 2, 2
    engine._n_microbatches = microbatches
    table = clock_table(Graph.chain(4), microbatches, "interleaved", devices=2)
    for rank, row in enumerate(table.splitlines()):
        operations = engine._calculate_single_rank_operations(rank)
        assert [str(each) for each in operations if each] == row.replace(".", "").split()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(name="zb"), "gpipe, 1f1b, looped-bfs, .*; got 'zb'"),
        (dict(name="gpipe", samples=10), "divide samples=10: got 4, possible are 1, 2, 5, 10"),
        (
            dict(name="1f1b", ranks=4, microbatches=2),
            "2 microbatches for 4 stages.* 4, 8 would fit",
        ),
        (dict(name="dualpipe-v", microbatches=2), "2 microbatches for 4 stages.* 4, 8 would fit"),
        (
            dict(name="gpipe", replicas=3),
            "3 replicas share the perturbations.*multiple of 3: got samples=8",
        ),
        (
            dict(name="1f1b", replicas=2, ranks=4),
            "2 microbatches for 4 stages in each of 2 replicas",
        ),
        (
            dict(name="interleaved-1f1b", ranks=2, samples=15, microbatches=5),
            "rounds of equally many.* 1, 3 would fit",
        ),
        (dict(name="1f1b", ranks=16), "none fits: change samples"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_with_a_way_out(options, message):
    with pytest.raises(ValueError, match=message):
        checked(**options)


def test_a_process_holds_as_many_stages_as_the_schedule_can():
    assert [stages_each(name) for name in ("gpipe", "looped-bfs", "zb-v")] == [1, 2, 2]
    assert stages_each("interleaved-1f1b", 3) == 3
    with pytest.raises(ValueError, match="must be exactly 2 with schedule zb-v, got 3"):
        stages_each("zb-v", 3)
    with pytest.raises(
        ValueError, match="an integer of at least 1 with schedule looped-bfs, got 0"
    ):
        stages_each("looped-bfs", 0)


@pytest.mark.parametrize(
    ("samples", "stages", "replicas", "expected"),
    [
        (10, 2, 1, 2),
        (10, 4, 1, 5),
        (9, 2, 1, 3),
        (1, 4, 1, 1),
        (3, 8, 1, 3),
        (12, 2, 3, 6),
        (12, 4, 2, 12),
        (9, 2, 2, 9),
    ],
)
def test_by_default_every_stage_of_every_copy_gets_a_microbatch(
    samples, stages, replicas, expected
):
    assert default_microbatches(samples, stages, replicas) == expected
