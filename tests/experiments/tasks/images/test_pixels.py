import pytest
import torch

from pprs_experiments.tasks.images.pixels import PixelScale


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(6, 2, 4, 4, dtype=torch.float64, generator=generator) * torch.tensor(
        [1, 0.1], dtype=torch.float64
    ).view(2, 1, 1)


def test_bounds_and_radius_are_those_of_pixels():
    scale, pixels = PixelScale.of(images()), images()
    low, high = scale.bounds
    assert torch.equal(low.expand(pixels.shape), scale(torch.zeros_like(pixels)))
    assert torch.equal(high.expand(pixels.shape), scale(torch.ones_like(pixels)))
    moved = scale(pixels + 8 / 255) - scale(pixels)
    torch.testing.assert_close(moved, scale.radius(8 / 255).expand(pixels.shape))


def test_a_negative_radius_is_refused():
    with pytest.raises(ValueError, match="epsilon must be a finite number of at least 0"):
        PixelScale.of(images()).radius(-0.1)
