import pytest

from pprs.pipeline import Mesh
from pprs.pipeline.schedule import SCHEDULES, Schedule, fitting, stages_each
from pprs.plan.orders import in_flight, tasks
from pprs.theory import Graph, clock_table


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_the_order_of_one_stage_on_each_process_is_that_of_the_theory(schedule):
    table = clock_table(Graph.chain(3), 5, schedule)
    for row, line in zip(tasks(schedule, 3, 1, 5), table.splitlines(), strict=True):
        assert [f"{kind}{m}" for kind, _, m in row] == line.replace(".", "").split()


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_every_stage_runs_every_microbatch_once_each_way(schedule):
    each = stages_each(schedule)
    for microbatches in fitting(schedule, Mesh(1, 2), each, 8):
        rows = tasks(schedule, 2, each, microbatches)
        done = [task for row in rows for task in row]
        assert len(done) == len(set(done))
        for stage in range(2 * each):
            for m in range(microbatches):
                kinds = {kind for kind, s, n in done if (s, n) == (stage, m)}
                assert kinds in ({"F", "B"}, {"F", "I", "W"})


def test_what_is_in_flight_is_counted_from_the_order():
    assert in_flight("gpipe", 2, 1, 8) == (8, 8)
    assert in_flight("1f1b", 4, 1, 8) == (4, 3, 2, 1)
    assert in_flight("looped-bfs", 2, 2, 4) == (4, 4, 4, 4)
    kept = in_flight("zb-v", 2, 2, 8)
    assert sum(kept) <= 2 * 4  # no more than 1f1b of as many stages


def test_a_schedule_whose_order_is_not_known_is_refused(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "eager", Schedule("ScheduleGPipe", "single"))
    for predicted in (tasks, in_flight):
        with pytest.raises(ValueError, match="no order is known of schedule eager"):
            predicted("eager", 3, 1, 8)
