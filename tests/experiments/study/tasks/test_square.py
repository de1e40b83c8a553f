import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import skip_init

from pprs.compare.examples import Examples
from pprs_experiments.study.problem import drawing
from pprs_experiments.study.tasks.classification import right
from pprs_experiments.study.tasks.square import square_attacked
from pprs_experiments.tasks.images.pixels import PixelScale

SCALE = PixelScale(torch.full((1, 1, 1), 0.4), torch.full((1, 1, 1), 0.2))
PIXELS = torch.rand(40, 1, 8, 8, generator=drawing(0, "pixels"))


def halves(gain=1.0):
    """Tells images whose left half is brighter from others, by standardised pixels."""
    network = nn.Sequential(nn.Flatten(), skip_init(nn.Linear, 64, 2, bias=False))
    left = torch.arange(64).view(8, 8) % 8 < 4
    with torch.no_grad():
        network[1].weight.copy_(gain * torch.stack([left, ~left]).flatten(1).float())
    return network


def images(network):
    """All right but for one in four."""
    x = SCALE(PIXELS)
    y = network(x).argmax(1)
    y[::4] = 1 - y[::4]
    return Examples(x, y, 2)


def attacked(network, epsilon, *, queries=30, seed=0, scale=SCALE):
    pytest.importorskip("art")
    return square_attacked(network, images(halves()), scale, epsilon, queries, seed)


def test_what_a_network_is_wrong_about_stays_wrong_and_more_is_found():
    before = right(halves(), images(halves()))
    small, large = attacked(halves(), 0.01), attacked(halves(), 0.3)
    assert before.sum() == 30
    assert not (small & ~before).any()
    assert not (large & ~before).any()
    assert large.sum() < small.sum() < 30


def test_a_lead_that_no_change_within_epsilon_takes_stays():
    # A pixel that changes by epsilon changes the lead by at most epsilon / deviation.
    network, examples = halves(), images(halves())
    scores = network(examples.x)
    lead = (scores[:, 0] - scores[:, 1]).abs() * right(network, examples)
    safe = lead > 64 * 0.02 / 0.2
    found = attacked(network, 0.02, queries=100)
    assert 5 < safe.sum() < 25
    assert found[safe].all()
    assert found.sum() < 30


class Recorder(nn.Sequential):
    """Keeps what it has seen."""

    def __init__(self, network):
        super().__init__(network)
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return super().forward(x)


def test_pixels_change_by_epsilon_at_most_and_stay_between_0_and_1():
    network = Recorder(halves())
    attacked(network, 0.1)
    before = PIXELS[right(halves(), images(halves()))]
    seen = [x * SCALE.deviation + SCALE.mean for x in network.seen if len(x) == len(before)]
    changes = torch.stack([x - before for x in seen[1:]]).abs()
    assert len(seen) > 3
    assert changes.max().item() == pytest.approx(0.1, abs=1e-5)
    assert -1e-5 < min(float(x.min()) for x in seen) < 1e-5
    assert 1 - 1e-5 < max(float(x.max()) for x in seen) < 1 + 1e-5


def test_the_seed_draws_the_squares_and_the_global_generators_are_left():
    network = halves()
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (np.random.rand(), torch.rand(1).item())
    np.random.seed(1)
    torch.manual_seed(1)
    first, again, other = (attacked(network, 0.1, seed=seed) for seed in (3, 3, 4))
    assert (np.random.rand(), torch.rand(1).item()) == expected
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), 1e38])
def test_a_network_without_finite_outputs_is_right_about_nothing(gain):
    assert not attacked(halves(gain), 0.1).any()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "art.attacks.evasion", None)
    with pytest.raises(ModuleNotFoundError, match="adversarial-robustness-toolbox") as raised:
        square_attacked(halves(), images(halves()), SCALE, 0.1, 3, 0)
    assert raised.value.name == "art"


def test_what_cannot_be_attacked_is_refused():
    with pytest.raises(ValueError, match="epsilon must be a finite number above 0, got 0"):
        square_attacked(halves(), images(halves()), SCALE, 0, 3, 0)
    with pytest.raises(ValueError, match="queries must be an integer of at least 1, got 0"):
        square_attacked(halves(), images(halves()), SCALE, 0.1, 0, 0)
