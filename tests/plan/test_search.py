from dataclasses import replace

import pytest
from plan.made import machine, profile_of, times_of

from pprs.plan.advice import advice, command, disturbed, gains
from pprs.plan.predict import Machine
from pprs.plan.profile import Curve, Layer, Link
from pprs.plan.search import free_by_unit_time, search
from pprs.theory import pipeline_time

# As on a small processor: 40 ms a pass however few its rows, and 0.25 ms a row.
DEAR_PASSES = times_of([0.01] * 4, [0.0] * 4, per_row=0.00003)
ROWS_ONLY = times_of([0.0] * 4, [0.0] * 4, per_row=0.001)


def planned(times, devices=2, samples=16, **more):
    where = more.pop("where", None) or machine(devices)
    return search(profile_of(times), where, samples, **more)


def test_free_by_unit_time_is_the_largest_k_of_the_theory():
    for depth in (1, 2, 9, 10, 11, 20, 57, 100):
        for tolerance in (0.0, 0.05, 0.1, 0.25, 1.0):
            within = (1 + tolerance) * pipeline_time(1, depth) + 1e-9
            expected = max(k for k in range(1, 300) if pipeline_time(k, depth) <= within)
            assert free_by_unit_time(depth, tolerance) == expected


def test_the_best_is_the_fastest_of_all_predictions():
    plan = planned(DEAR_PASSES)
    smoothed = [one for one in plan.predictions if one.setting.samples == 16]
    assert plan.best.seconds == pytest.approx(min(one.seconds for one in smoothed))
    plain = [one for one in plan.predictions if one.setting.samples == 0]
    assert plan.plain.seconds == pytest.approx(min(one.seconds for one in plain))
    assert {one.setting.microbatches for one in smoothed} == {1, 2, 4, 8, 16}
    assert {one.setting.schedule for one in smoothed} >= {"gpipe", "1f1b", "zb-v"}
    assert {one.setting.recompute for one in smoothed} == {False, True}


def test_where_passes_cost_more_than_rows_many_microbatches_take_longer():
    found = {
        one.setting.microbatches: one.seconds
        for one in planned(DEAR_PASSES).predictions
        if one.setting.samples == 16
        and one.setting.schedule == "gpipe"
        and not one.setting.recompute
    }
    assert found[16] > 2 * found[2]


def test_a_pipeline_that_gains_nothing_is_said_to():
    slower = replace(DEAR_PASSES, processes=2)
    alone = times_of([0.005] * 4, [0.0] * 4, per_row=0.000015)  # one process has all cores
    made = profile_of(DEAR_PASSES)
    kinds = [
        replace(one, smoothed=smoothed)
        for smoothed in (True, False)
        for one in (slower, replace(alone, processes=1))
    ]
    plan = search(replace(made, times=tuple(kinds)), machine(2), 16)
    assert plan.gain < 1.05
    assert not gains(plan)
    assert "gains nothing" in advice(plan)
    words = command(plan, [])
    assert words[words.index("--stages") + 1] == "1"


def test_stages_that_work_one_after_the_other_are_no_gain_of_pipelining():
    crowded = times_of([0.02] * 4, [0.0] * 4)  # one process whose threads get in each other's way
    kinds = [
        replace(one, smoothed=smoothed)
        for smoothed in (True, False)
        for one in (replace(crowded, processes=1), times_of([0.01] * 4, [0.0] * 4, processes=2))
    ]
    plan = search(replace(profile_of(crowded), times=tuple(kinds)), machine(2), 16)
    assert plan.gain == pytest.approx(2.0)
    assert "this is no gain of pipelining" in advice(plan)


def test_more_than_two_processes_can_gain_is_no_recommendation():
    busy, quiet = (times_of([seconds] * 4, [0.0] * 4) for seconds in (0.04, 0.01))
    kinds = [
        replace(one, smoothed=smoothed)
        for smoothed in (True, False)
        for one in (replace(busy, processes=1), replace(quiet, processes=2))
    ]
    made = replace(profile_of(busy), times=tuple(kinds))
    plan = search(made, machine(2), 16)
    assert plan.gain > 2.5
    assert disturbed(plan)
    assert "cannot be, so that the one was disturbed" in advice(plan)
    assert not disturbed(search(made, machine(2), 16, simulated=True))


def test_a_pipeline_that_gains_is_recommended_with_its_cut():
    plan = planned(ROWS_ONLY)
    assert 2 * 16 / 17 <= plan.gain < 2  # GPipe's, and what no schedule exceeds
    assert f"{plan.gain:.2f} times faster" in advice(plan)
    words = command(plan, ["--model", "mine.py:model"])
    assert words[:4] == ["pprs", "train", "--model", "mine.py:model"]
    assert len(words) - words.index("--cut") - 1 == int(words[words.index("--stages") + 1]) - 1


def test_what_is_free_by_the_clock_follows_the_costs_of_rows():
    # A pass of 8 k rows: 0.04 + 4 * 2 * 0.00003 * 8 k seconds, a plain one as if k = 1.
    plan = planned(DEAR_PASSES, devices=1, samples=64)
    assert plan.free_one == plan.free == 3  # 0.04576 <= 1.1 * 0.04192, and 0.04768 is not
    assert planned(ROWS_ONLY, devices=1).free_one == 1
    dear = replace(DEAR_PASSES, step=10.0)
    assert planned(dear, devices=1).free_one == 16
    assert "on one device K = 16 or more" in advice(planned(dear, devices=1))


def test_smoothing_that_costs_more_than_the_tolerance_leaves_nothing_free():
    plain = replace(DEAR_PASSES, smoothed=False)
    smoothed = times_of([0.02] * 4, [0.0] * 4)
    made = replace(profile_of(plain), times=(plain, smoothed))
    plan = search(made, machine(1), 4)
    assert plan.free_one == 0
    assert "by the clock on one device none" in advice(plan)


def test_a_limit_of_memory_is_kept_or_said_to_be_missed():
    times = times_of([0.01] * 4, [0.01] * 4, kept=1e6, size=1000)
    free = planned(times, samples=8)
    tight = planned(times, samples=8, where=machine(2, memory=max(free.best.memory) / 2))
    assert tight.best.seconds > free.best.seconds
    assert max(tight.best.memory) <= tight.machine.memory
    none = planned(times, samples=8, where=machine(2, memory=1.0))
    assert "No configuration fits the memory" in advice(none)


def test_a_model_that_one_device_cannot_hold_needs_the_pipeline():
    times = times_of([0.01] * 4, [0.01] * 4, size=1000)
    plan = planned(times, where=machine(2, memory=4 * 2000.0))
    assert gains(plan)
    assert "on one it does not fit the memory" in advice(plan)


def test_a_target_names_the_largest_k_within_it():
    plan = planned(ROWS_ONLY, samples=8)
    time = min(one.seconds for one in plan.predictions if one.setting.samples == 4)
    assert "fits K = 4" in advice(plan, time * 1.0001)
    assert "No smoothed step takes" in advice(plan, 1e-6)


def test_unequal_devices_get_unequal_stages():
    times = times_of([0.0] * 8, [0.0] * 8, per_row=0.001)
    plan = planned(times, where=Machine((1.0, 3.0)), simulated=True)
    cuts = [
        one.setting.cut
        for one in plan.predictions
        if (one.setting.schedule, one.setting.microbatches) == ("gpipe", 16)
    ]
    assert [[len(piece) for piece in cut] for cut in cuts] == [[2, 6], [2, 6]]


def test_a_thousand_devices_over_slow_links_are_planned():
    times = times_of([0.001] * 4, [0.002] * 4, per_row=1e-5)
    made = profile_of(times, link=Link(0.1, 1e9, overlaps=True)).repeated(256)
    plan = search(made, machine(1024, link=made.link), 1024, simulated=True)
    (one,) = [
        one
        for one in plan.predictions
        if (one.setting.samples, one.setting.microbatches) == (1024, 512)
        and not one.setting.recompute
    ]
    pass_ = 0.003 + 2e-5 * one.setting.rows
    assert one.seconds == pytest.approx(2 * 1023 * 0.1 + (512 + 1023) * pass_)
    assert plan.free_unit == 103
    assert plan.free == 1024  # beside 2 x 1,023 messages of 100 ms, passes cost nothing
    assert not gains(plan)  # which one device need not wait for


def test_the_step_of_surroundings_is_part_of_every_prediction():
    times = replace(ROWS_ONLY, around=Layer("around", Curve.line(0.5)))
    assert all(one.seconds >= 0.5 for one in planned(times, samples=2).predictions)
