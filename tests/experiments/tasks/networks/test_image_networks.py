"""What every network of images can."""

import pytest
import torch
import torch.nn.functional as F

import pprs
from experiments.tasks.networks.small import convolutional, normal, transformer
from pprs.pipeline import chain


@pytest.fixture(
    params=[(convolutional, (3, 16, 16)), (transformer, (3, 8, 12))],
    ids=["convolutional", "transformer"],
)
def some(request):
    """A network, and 20 images that it takes."""
    build, shape = request.param
    return build(), normal(20, *shape)


def test_an_example_does_not_see_the_others(some):
    network, x = some
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


def test_the_network_learns(some):
    network, x = some
    y = torch.arange(20) % 10
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # 2.3 is chance


@pytest.mark.parametrize("noise", ["shared", "example"])
def test_the_network_can_be_smoothed(some, noise):
    network, x, y = some[0], some[1][:4], torch.arange(4)
    loss = pprs.smooth(
        lambda x, y: F.cross_entropy(network(x), y),
        network,
        sigma=1e-9,
        samples=3,
        noise=noise,
        batch=(x, y),
        seed=0,
    )
    loss.backward()
    torch.testing.assert_close(loss, F.cross_entropy(network(x), y))
    assert all(p.grad is not None for p in network.parameters())


def test_a_pipeline_can_cut_it(some):
    network, x = some
    pieces = chain(network)
    assert len(pieces) >= 6
    torch.testing.assert_close(pieces(x), network(x))
