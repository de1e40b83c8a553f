from functools import partial

import pytest
from pipeline.ranks import on_ranks
from plan.models import subject

from pprs.plan.measured_profile import member
from pprs.plan.profile import Profile

pytestmark = pytest.mark.dist


def measured(kind, processes, folder):
    file = folder / "profile.json"
    on_ranks(processes, member, partial(subject, kind), kind, 1, file)
    return Profile.load(file)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return measured("chain", 2, tmp_path_factory.mktemp("measured"))


def test_both_kinds_of_passes_are_measured(chain):
    assert {(t.processes, t.smoothed) for t in chain.times} == {(2, True), (2, False)}
    assert chain.link.latency >= 0
    assert chain.link.overlaps
    for times in chain.times:
        assert 0 < times.alone <= 1
        assert [layer.name for layer in times.layers] == ["0", "1", "2"]
        assert min(times.around.forward.values) > 0
        assert min(times.around.backward.values) > 0
        for layer in times.layers:
            assert min(layer.forward.values) > 0
            assert min(layer.backward.values) > 0  # though the second works in place


def test_bytes_are_those_of_the_layers(chain):
    for times in chain.times:
        first, middle, last = times.layers
        assert [layer.parameters for layer in times.layers] == [4 * 70, 0, 4 * 33]
        assert [layer.output.at(4) for layer in times.layers] == [160.0, 160.0, 48.0]
        kept = sum(layer.activations.at(4) for layer in (first, middle, last))
        assert kept >= 4 * 4 * 10  # what goes into the second linear layer, at the least


def test_layers_that_share_parameters_are_noted(tmp_path):
    profile = measured("tied", 1, tmp_path)
    layers = len(profile.times[0].layers)
    assert layers > 1
    assert profile.ties == ((0, layers - 1),)
