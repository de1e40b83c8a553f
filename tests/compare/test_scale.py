import pytest
import torch

from pprs.compare.examples import Examples
from pprs.compare.scale import Scale


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(6, 2, 4, 4, dtype=torch.float64, generator=generator) * torch.tensor(
        [1, 0.1], dtype=torch.float64
    ).view(2, 1, 1)


def test_every_channel_gets_mean_0_and_variance_1():
    scaled = Scale.of(images())(images())
    for channel in (0, 1):
        assert scaled[:, channel].mean().item() == pytest.approx(0)
        assert scaled[:, channel].std().item() == pytest.approx(1)


def test_examples_keep_their_labels():
    examples = Examples(images(), torch.arange(6) % 3, 3)
    scaled = Scale.of(images()).applied(examples)
    assert torch.equal(scaled.x, Scale.of(images())(images()))
    assert torch.equal(scaled.y, examples.y)


def test_a_channel_of_one_brightness_is_refused():
    dark = images()
    dark[:, 1] = 0
    with pytest.raises(ValueError, match="must not have a channel in which all pixels are alike"):
        Scale.of(dark)
