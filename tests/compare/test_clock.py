"""The seconds of a step on a machine that other programs use, too."""

import math
from dataclasses import replace

import pytest
from compare.made import COSTS, FOUND, point

from pprs.compare import CompareConfig, clock
from pprs.compare.clock import Stopwatch
from pprs.compare.costs import corrected, ends
from pprs.compare.methods import Setting


def timed(monkeypatch, by_cpu, steps):
    """A stopwatch after steps that took so long: by the wall, computing, waiting for a core."""
    now, watch = [0.0, 0.0, 0.0], Stopwatch(by_cpu)
    monkeypatch.setattr(clock, "_now", lambda: tuple(now))
    for each in steps:
        watch.start()
        now[:] = [a + b for a, b in zip(now, each, strict=True)]
        watch.stop()
    return watch.step


def test_the_time_in_which_other_programs_had_the_core_is_no_time_of_a_step(monkeypatch):
    quiet = [(0.010, 0.010, 0.0)] * 20
    busy = [(0.030, 0.010, 0.020), (0.015, 0.010, 0.005)] * 10
    assert timed(monkeypatch, True, quiet) == pytest.approx(0.010)
    assert timed(monkeypatch, True, busy) == pytest.approx(0.010)
    # Where nobody knows how long it waited, and for devices and several processes: wall time.
    assert timed(monkeypatch, True, [(0.011, 0.010, 0.0), *[(0.05, 0.010, 0.0)] * 5]) < 0.012
    assert timed(monkeypatch, False, busy) == pytest.approx(0.015)


def test_what_a_step_sleeps_counts(monkeypatch):
    disk = [(0.050, 0.010, 0.0), (0.080, 0.010, 0.030)] * 10
    assert timed(monkeypatch, True, disk) == pytest.approx(0.050)


def test_a_step_of_fewer_examples_does_not_count(monkeypatch):
    monkeypatch.setattr(clock, "_now", iter([(0.0,) * 3, (0.01,) * 3] * 2).__next__)
    watch = Stopwatch(by_cpu=False)
    for counts in (True, False):
        watch.start()
        watch.stop(counts=counts)
    assert watch.wall == [0.01]


def test_a_run_without_a_step_has_no_seconds():
    assert math.isnan(Stopwatch(by_cpu=True).step)


def test_steps_follow_what_trials_took_rather_than_a_measuring_that_was_disturbed():
    config = CompareConfig(methods=("one-draw", "smoothed"))
    true = {method: COSTS[method] for method in config.compared}
    disturbed = true | {"one-draw": replace(true["one-draw"], step=3 * true["one-draw"].step)}
    points = [
        point(method, Setting(0.01, 0.0), seed, 20, "seconds", 0.5, FOUND, {method: busy})
        for method in config.compared
        for seed, busy in enumerate((2.5, 1.0, 1.4))
    ]
    found = corrected(disturbed, points)
    paid = ends(config, FOUND, found, 100)
    assert paid == ends(config, FOUND, true, 100)
    assert paid["one-draw"]["seconds"] == 100
    assert ends(config, FOUND, disturbed, 100)["one-draw"]["seconds"] == 33
    # A run that took no step says nothing.
    lost = [replace(p, seconds=math.nan) for p in points]
    assert corrected(true, lost) == true
