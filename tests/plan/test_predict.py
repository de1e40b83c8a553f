import math
from dataclasses import replace

import numpy as np
import pytest
from plan.made import cut_at, machine, setting, times_of, unit

from pprs.pipeline import Mesh
from pprs.pipeline.schedule import SCHEDULES, fitting, stages_each
from pprs.plan.failures import failing
from pprs.plan.orders import tasks
from pprs.plan.predict import Machine, Stages, predict, simulate
from pprs.plan.profile import Curve, Layer, Link
from pprs.theory import Graph, makespan, pipeline_time

HALF = Link(0.5, overlaps=True)
LATE = Link(0.5, overlaps=False)


def each_alone(stages):
    return cut_at(stages, *range(1, stages))


def seconds(times, schedule, microbatches, link=None, cut=None, **more):
    stages = len(times.layers)
    where = machine(stages, link=link or Link())
    made = setting(schedule, cut or each_alone(stages), microbatches, **more)
    return predict(times, made, where).seconds


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_unit_costs_take_the_pipeline_time_of_the_theory(schedule):
    for stages in (1, 2, 3, 5, 8):
        for microbatches in (1, 2, 5, 8, 13):
            found = seconds(unit(stages), schedule, microbatches)
            assert found == pipeline_time(microbatches, stages)


def test_the_interleaved_schedule_takes_what_the_theory_says():
    for devices, each, microbatches in ((2, 2, 4), (4, 2, 8), (3, 2, 6)):
        rng = np.random.default_rng(devices)
        forward, backward = rng.uniform(1, 2, (2, devices * each)).tolist()
        times, cut = times_of(forward, backward), each_alone(devices * each)
        found = predict(times, setting("interleaved-1f1b", cut, microbatches), machine(devices))
        graph = Graph.chain(devices * each, forward, backward)
        expected = makespan(graph, microbatches, "interleaved", devices=devices)
        assert found.seconds == pytest.approx(expected)


# Stages of 1 and 2 forward, 2 and 3 backward, two microbatches: written out on paper.
@pytest.mark.parametrize(
    ("schedule", "link", "expected"),
    [
        ("gpipe", Link(), 13.0),  # F 0-1 1-2 | 1-3 3-5, B 5-8 8-11 | 8-10 11-13
        ("1f1b", Link(), 13.0),  # F 0-1 1-2 B 6-8 11-13 | F 1-3 B 3-6 F 6-8 B 8-11
        ("gpipe", HALF, 14.0),  # F 1.5-3.5 3.5-5.5 B 5.5-8.5 8.5-11.5 | B 9-11 12-14
        ("gpipe", LATE, 14.5),  # F 1.5-3.5 4-6 B 6-9 9-12 | B 9.5-11.5 12.5-14.5
        ("1f1b", HALF, 14.0),  # F 1.5-3.5 B 3.5-6.5 F 6.5-8.5 B 8.5-11.5 | B 7-9 12-14
        ("1f1b", LATE, 14.5),  # F 1.5-3.5 B 3.5-6.5 F 7-9 B 9-12 | B 7-9 12.5-14.5
    ],
)
def test_a_timetable_written_by_hand_is_met(schedule, link, expected):
    times = times_of([1.0, 2.0], [2.0, 3.0])
    assert seconds(times, schedule, 2, link) == expected
    stages = Stages.of(times, setting(schedule, each_alone(2), 2))
    assert simulate(stages, [0, 1], tasks(schedule, 2, 1, 2), link) == (expected, 16.0)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_a_chain_of_any_costs_and_links_takes_the_makespan_of_the_theory(schedule):
    rng = np.random.default_rng(0)
    for _ in range(20):
        stages, microbatches = rng.integers(2, 6), int(rng.integers(6, 12))
        forward, backward = rng.uniform(0, 3, (2, stages)).tolist()
        times = times_of(forward, backward, sent=8.0)
        link = Link(float(rng.uniform(0, 2)), 10.0)
        graph = Graph.chain(int(stages), forward, backward, link.latency + 0.8)
        expected = makespan(graph, microbatches, schedule)
        assert seconds(times, schedule, microbatches, link) == pytest.approx(expected)
        made = Stages.of(times, setting(schedule, each_alone(int(stages)), microbatches))
        rows = tasks(schedule, int(stages), 1, microbatches)
        found, _ = simulate(made, list(range(stages)), rows, link)
        assert found == pytest.approx(expected)


def test_what_surrounds_layers_and_the_loss_counts_where_it_is():
    times = times_of([1.0, 1.0], [1.0, 1.0])
    times = replace(
        times,
        around=Layer("around", Curve.line(0.1), Curve.line(0.2)),
        loss=Layer("loss", Curve.line(0.0, 0.01), Curve.line(0.0, 0.02)),
        step=5.0,
    )
    one = seconds(times, "gpipe", 1, rows=10)
    assert one == pytest.approx(5.0 + 4.0 + 2 * 0.3 + 0.3)
    merged = predict(times, setting("gpipe", (range(2),), 3, rows=10), machine(1))
    assert merged.seconds == pytest.approx(5.0 + 3 * (4.0 + 0.3 + 0.3))


def test_first_backwards_and_dividing_gradients_count_by_the_parameters():
    times = times_of([1.0, 2.0], [2.0, 3.0], size=10)
    times = replace(times, first=1.0, several=4.0)
    assert seconds(times, "gpipe", 1) == 8.0 - 1.0  # both backwards are first ones
    assert seconds(times, "gpipe", 2) == 13.0 - 0.5 + 2.0  # half of the parameters on each


def test_every_schedule_is_predicted_and_keeps_no_device_longer_than_the_step():
    for name in SCHEDULES:
        each = stages_each(name)
        for microbatches in fitting(name, Mesh(1, 2), each, 8):
            times = unit(2 * each)
            found = predict(times, setting(name, each_alone(2 * each), microbatches), machine(2))
            assert found.seconds >= 2 * each * microbatches
            idle = 1 - 2 * each * microbatches / found.seconds
            assert found.bubble == pytest.approx(idle)


def test_a_backward_that_splits_makes_zero_bubble_schedules_faster():
    whole = unit(4)
    split = replace(whole, weight_share=0.5)
    for name in ("zb-v", "interleaved-zero-bubble"):
        made = setting(name, each_alone(4), 4)
        assert predict(split, made, machine(2)).seconds < predict(whole, made, machine(2)).seconds


def test_a_stage_that_works_alone_is_as_fast_as_was_measured():
    times = replace(times_of([1.0, 2.0], [2.0, 3.0]), alone=0.5)
    assert seconds(times, "gpipe", 1) == pytest.approx(4.0)  # nothing ever runs beside
    slow, busy = seconds(replace(times, alone=1.0), "gpipe", 16), seconds(times, "gpipe", 16)
    assert 0.5 * slow < busy < slow
    made = predict(times, setting("gpipe", each_alone(2), 1), machine(2))
    assert made.bubble == pytest.approx(0.5)  # one of two works


def test_running_stages_again_takes_another_forward_and_less_memory():
    times = times_of([1.0, 1.0], [2.0, 2.0], sent=3.0, kept=7.0, size=100)
    plain = predict(times, setting("gpipe", each_alone(2), 4, rows=2), machine(2))
    again = predict(times, setting("gpipe", each_alone(2), 4, rows=2, recompute=True), machine(2))
    assert (plain.seconds, again.seconds) == (15.0, 20.0)
    assert plain.memory == (4 * 100 + 4 * 14, 4 * 100 + 4 * 14)  # Adam: 4 times the parameters
    assert again.memory == (4 * 100 + 14, 4 * 100 + 4 * 3 + 14)


def test_1f1b_keeps_fewer_microbatches_than_gpipe():
    times = times_of([1.0] * 3, [1.0] * 3, kept=1.0)
    memory = {
        name: predict(times, setting(name, each_alone(3), 8), machine(3)).memory
        for name in ("gpipe", "1f1b")
    }
    assert memory == {"gpipe": (8.0, 8.0, 8.0), "1f1b": (3.0, 2.0, 1.0)}


def test_a_slower_device_or_link_never_makes_a_gpipe_step_shorter():
    rng = np.random.default_rng(1)
    for _ in range(30):
        stages = int(rng.integers(2, 6))
        times = times_of(*rng.uniform(0, 3, (2, stages)).tolist(), sent=5.0)
        speeds, latency = rng.uniform(0.5, 2, stages), float(rng.uniform(0, 1))
        made = setting("gpipe", each_alone(stages), int(rng.integers(1, 9)))
        for overlaps in (False, True):
            here = Machine(tuple(speeds), Link(latency, 50.0, overlaps))
            base = predict(times, made, here).seconds
            slower = speeds.copy()
            slower[rng.integers(stages)] *= 0.7
            worse = [
                replace(here, speeds=tuple(slower)),
                replace(here, link=Link(latency + 0.1, 50.0, overlaps)),
                replace(here, link=Link(latency, 30.0, overlaps)),
            ]
            assert all(predict(times, made, one).seconds >= base for one in worse)
            more = replace(made, microbatches=made.microbatches + 1)
            assert predict(times, more, here).seconds > base


def test_devices_twice_as_fast_take_half_the_time():
    times = times_of([1.0, 2.0], [2.0, 3.0])
    made = setting("gpipe", each_alone(2), 2)
    assert predict(times, made, Machine((2.0, 2.0))).seconds == 6.5


def test_failures_cost_what_a_simulation_of_them_says():
    mean, save, restart, work = 100.0, 2.0, 5.0, 20.0
    rng, spent, rounds = np.random.default_rng(0), 0.0, 20_000
    for _ in range(rounds):
        left = work + save
        while (failure := rng.exponential(mean)) < left:
            spent += failure + restart
        spent += left
    at_twenty = spent / rounds / work
    best = failing(1.0, 1, mean, save, restart)
    assert 1 < best < at_twenty * 1.01  # the best interval is near sqrt(2 * 2 * 100) = 20
    assert best == pytest.approx(at_twenty, rel=0.01)
    assert failing(1.0, 1, 1e12, save, restart) == pytest.approx(1.0, rel=1e-4)
    assert failing(1.0, 10, mean, save, restart) > best
    assert math.isinf(failing(1e5, 1, 1.0, save, restart))


def test_tasks_that_wait_for_each_other_are_refused():
    stages = Stages.of(unit(2), setting("gpipe", each_alone(2), 1))
    rows = [[("B", 0, 0), ("F", 0, 0)], [("F", 1, 0), ("B", 1, 0)]]
    with pytest.raises(ValueError, match="in a circle"):
        simulate(stages, [0, 1], rows, Link())


def test_stages_that_devices_cannot_share_are_refused():
    with pytest.raises(ValueError, match="3 stages cannot be shared evenly by 2 devices"):
        predict(unit(3), setting("gpipe", each_alone(3), 2), machine(2))
    with pytest.raises(ValueError, match="speeds must be a finite number above 0, got 0"):
        Machine((1.0, 0.0))
    with pytest.raises(ValueError, match="memory must be .* above 0, got 0"):
        machine(1, memory=0)
