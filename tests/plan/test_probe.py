from dataclasses import replace
from types import SimpleNamespace

import pytest
from plan.made import cut_at, machine, setting, times_of

from pprs.plan.predict import predict
from pprs.plan.probe import calibrated
from pprs.plan.profile import Link

LINK = Link(0.0004, 1e9, overlaps=False)


def probe(schedule, cut, times, microbatches=4):
    """A step that took as long as these times say."""
    made = setting(schedule, cut, microbatches)
    seconds = predict(times, made, machine(2, link=LINK)).seconds
    return SimpleNamespace(setting=made, seconds=[2.0, seconds, 0.0])  # of which the median counts


def layers(**more):
    return times_of([0.001] * 4, [0.002] * 4, sent=100.0, **more)


def test_steps_and_passes_beside_others_take_what_makes_steps_as_long_as_they_were():
    truth = layers(step=0.003)
    probes = [
        probe("gpipe", cut_at(4, 2), truth, 1),
        probe("gpipe", cut_at(4, 2), replace(truth, beside=0.0005)),
        probe("looped-bfs", cut_at(4, 1, 2, 3), replace(truth, shared=0.0007)),
    ]
    found = calibrated(layers(step=0.001), probes, LINK)
    assert found.step == pytest.approx(0.003)
    assert found.beside == pytest.approx(0.0005, rel=1e-6)
    assert found.shared == pytest.approx(0.0007, rel=1e-6)


def test_steps_that_took_less_than_their_passes_add_nothing():
    fast, cut = times_of([0.0005] * 4, [0.001] * 4), cut_at(4, 2)
    found = calibrated(layers(), [probe("gpipe", cut, fast, m) for m in (1, 4)], LINK)
    assert (found.step, found.beside, found.shared) == (0.0, 0.0, 0.0)


def test_passes_that_never_run_beside_others_take_nothing_more():
    once, slower = layers(step=0.003), layers(step=0.004)
    probes = [probe("gpipe", cut_at(4, 2), times, 1) for times in (once, slower)]
    probes.append(probe("looped-bfs", cut_at(4, 1, 2, 3), slower, 1))
    found = calibrated(layers(), probes, LINK)
    assert (found.beside, found.shared) == (0.0, 0.0)


def test_what_passes_take_more_beside_others_counts_only_then():
    one = setting("gpipe", cut_at(4, 2), 1)
    many = setting("gpipe", cut_at(4, 2), 8)
    for made, longer in ((one, False), (many, True)):
        base = predict(layers(), made, machine(2)).seconds
        assert (predict(layers(beside=0.001), made, machine(2)).seconds > base) == longer
