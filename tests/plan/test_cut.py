from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from plan.made import cut_at, machine, setting, times_of, unit

from pprs.plan.cut import best_cut
from pprs.plan.orders import tasks
from pprs.plan.predict import Machine, Stages, predict, simulate
from pprs.plan.profile import Link


def every_cut(layers, stages):
    for places in combinations(range(1, layers), stages - 1):
        yield cut_at(layers, *places)


def brute_force(times, made, where):
    """The shortest step over all cuts, each played through task by task."""
    devices, found = len(where.speeds), {}
    rows = tasks(made.schedule, devices, 1, made.microbatches)
    for cut in every_cut(len(times.layers), devices):
        stages = Stages.of(times, replace(made, cut=cut)).on(where.speeds)
        found[cut], _ = simulate(stages, range(devices), rows, where.link)
    return min(found.values())


def test_the_best_cut_is_that_of_brute_force():
    rng = np.random.default_rng(0)
    for case in range(60):
        layers, devices = int(rng.integers(4, 8)), int(rng.integers(2, 5))
        devices = min(devices, layers)
        times = times_of(*rng.exponential(1, (2, layers)).tolist(), sent=float(rng.integers(9)))
        speeds = tuple(rng.uniform(0.5, 2, devices)) if case % 2 else (1.0,) * devices
        where = Machine(speeds, Link(0.1, 20.0, overlaps=bool(case % 3)))
        made = setting("gpipe", (), int(rng.integers(1, 7)))
        cut = best_cut(times, made, where)
        found = predict(times, replace(made, cut=cut), where).seconds
        assert found == pytest.approx(brute_force(times, made, where))


def test_the_cut_of_1f1b_is_that_of_brute_force():
    rng = np.random.default_rng(1)
    for _ in range(20):
        times = times_of(*rng.exponential(1, (2, 6)).tolist())
        made = setting("1f1b", (), 6)
        cut = best_cut(times, made, machine(3))
        found = predict(times, replace(made, cut=cut), machine(3)).seconds
        assert found == pytest.approx(brute_force(times, made, machine(3)))


def slowest(times, cut, speeds):
    stages = Stages.of(times, setting("gpipe", cut, 1)).on(speeds)
    return float((stages.forward + stages.backward).max())


@pytest.mark.parametrize("unequal", [False, True])
def test_of_many_cuts_the_one_with_the_fastest_slowest_stage_is_taken(unequal):
    rng = np.random.default_rng(2)
    for _ in range(5):
        times = times_of(*rng.exponential(1, (2, 16)).tolist())
        speeds = tuple(rng.uniform(0.3, 3, 4)) if unequal else (1.0,) * 4
        cut = best_cut(times, setting("gpipe", (), 4), Machine(speeds))
        best = min(slowest(times, one, speeds) for one in every_cut(16, 4))
        assert slowest(times, cut, speeds) == pytest.approx(best)


def test_of_a_thousand_layers_each_device_gets_its_share():
    times = times_of([0.0] * 1200, [1.0] * 1200)
    speeds = tuple(1.0 + i % 2 for i in range(80))
    cut = best_cut(times, setting("gpipe", (), 4), Machine(speeds))
    assert [len(piece) for piece in cut] == [10, 20] * 40


def test_stages_of_several_on_a_device_are_balanced():
    times = times_of([1.0] * 6 + [3.0, 3.0], [0.0] * 8)
    cut = best_cut(times, setting("looped-bfs", (), 4), machine(2), each=2)
    assert cut == cut_at(8, 3, 6, 7)


def test_a_cut_that_fits_the_memory_is_preferred():
    times = times_of([1.0] * 4, [1.0] * 4)
    layers = tuple(
        replace(x, parameters=p) for x, p in zip(times.layers, (9, 9, 1, 1), strict=True)
    )
    times = replace(times, layers=layers)
    made = setting("gpipe", (), 4)
    assert best_cut(times, made, machine(2)) == cut_at(4, 2)
    tight = machine(2, memory=4 * 11.0)
    assert best_cut(times, made, tight) == cut_at(4, 1)


def test_too_few_places_to_cut_are_named():
    with pytest.raises(ValueError, match="3 layers have 2 places to cut, and 4 stages need 3"):
        best_cut(unit(3), setting("gpipe", (), 4), machine(4))
